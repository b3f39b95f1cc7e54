/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flame graph of the last sample type in one SVG file without outside parts.
 * Time does not run along the x axis: brothers are sorted by name, and a frame
 * is as wide as its share. The root is at the top, so that a browser shows it
 * first however deep the stacks are. A small script zooms on a click and searches.
 *
 * Names are escaped here and never become markup in the script, which sets
 * text alone.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "output/svg_script.h"
#include "output/words.h"
#include "output/writer.h"
#include "profile/names.h"

#define WIDTH      1200.0
#define MARGIN     10.0
#define TOP        44.0 /* of the first row of frames */
#define ROW        17.0
#define CHAR_WIDTH 7.2 /* of the font at its size */
#define NARROWEST  0.1 /* frames below this are not drawn */
#define NCOLOURS   12

struct node {
	profile_str name;
	int64_t value;
	uint32_t first_child; /* node numbers; 0, the root's, is none */
	uint32_t next_brother;
	uint32_t depth;
	double x;
};

struct graph {
	struct profile *profile;
	struct names names;
	ARRAY(struct node) nodes;
	struct hashmap children; /* parent and name -> node */
	uint32_t deepest;
	struct words_scale scale;
	struct bytes *out;
};

/* The child of that name, made now if it is new. */
static uint32_t child(struct graph *graph, uint32_t parent, profile_str name)
{
	uint64_t key = (uint64_t)parent << 32 | name;
	uint64_t found;

	if (hashmap_get(&graph->children, key, &found))
		return (uint32_t)found;
	uint32_t id = (uint32_t)graph->nodes.n;
	struct node node = {
	        .name = name,
	        .next_brother = graph->nodes.v[parent].first_child,
	        .depth = graph->nodes.v[parent].depth + 1,
	};

	array_push(&graph->nodes, node);
	graph->nodes.v[parent].first_child = id;
	hashmap_put(&graph->children, key, id);
	if (node.depth > graph->deepest)
		graph->deepest = node.depth;
	return id;
}

static void add_sample(struct graph *graph, const struct profile_sample *sample)
{
	const struct profile *profile = graph->profile;
	int64_t value = sample->value[profile->ntypes - 1];
	uint32_t at = 0;
	size_t n, nnames;
	const uint32_t *stack = profile_stack_locations(profile, sample->stack, &n);

	if (value <= 0)
		return;
	graph->nodes.v[0].value += value;
	for (size_t i = n; i-- > 0;) {
		const profile_str *name = names_of(&graph->names, stack[i], &nnames);

		for (size_t j = nnames; j-- > 0;) {
			at = child(graph, at, name[j]);
			graph->nodes.v[at].value += value;
		}
	}
}

/* XML 1.0 knows neither U+FFFE nor U+FFFF; control characters a profile has none. */
static void escape(struct bytes *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '&') {
			bytes_printf(out, "&amp;");
		} else if (c == '<') {
			bytes_printf(out, "&lt;");
		} else if (c == '>') {
			bytes_printf(out, "&gt;");
		} else if (c == '"') {
			bytes_printf(out, "&quot;");
		} else if (c == 0xef && len - i > 2 &&
		           memcmp(s + i, "\xef\xbf\xbe", 3) >= 0) {
			bytes_append(out, "\xef\xbf\xbd", 3);
			i += 2;
		} else {
			bytes_append(out, s + i, 1);
		}
	}
}

static bool starts_character(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

/* As much of a name as fits, with ".." where it was cut; nothing if too little does. */
static void write_label(struct bytes *out, const char *name, double width)
{
	size_t fits = width > 6 ? (size_t)((width - 6) / CHAR_WIDTH) : 0;
	size_t nchars = 0, cut = 0, len = strlen(name);

	if (fits < 3)
		return;
	for (size_t i = 0; i < len; i++) {
		if (!starts_character(name[i]))
			continue;
		if (nchars == fits - 2)
			cut = i;
		nchars++;
	}
	escape(out, name, nchars > fits ? cut : len);
	if (nchars > fits)
		bytes_printf(out, "..");
}

/* The same name has the same colour in every graph; what is no code is grey. */
static unsigned colour(const char *name)
{
	return *name == '[' ? NCOLOURS
	                    : (unsigned)(hash_bytes(name, strlen(name), 0) % NCOLOURS);
}

static void write_frame(struct graph *graph, const struct node *node, double width)
{
	struct bytes *out = graph->out;
	const char *name = node->depth == 0 ? "all"
	                                    : profile_text(graph->profile, node->name);
	double y = TOP + node->depth * ROW;
	char number[64];

	words_number(number, sizeof number, node->value, graph->scale);
	bytes_printf(out, "<g class=\"f\"><title>");
	escape(out, name, strlen(name));
	bytes_printf(out, " (%s, %.2f%%)</title>", number,
	             words_percent(node->value, graph->nodes.v[0].value));
	bytes_printf(out,
	             "<rect class=\"c%u\" x=\"%.3f\" y=\"%.0f\" width=\"%.3f\" "
	             "height=\"%.0f\"/>",
	             colour(name), node->x, y, width, ROW - 1);
	bytes_printf(out, "<text x=\"%.3f\" y=\"%.0f\">", node->x + 3, y + 12);
	write_label(out, name, width);
	bytes_printf(out, "</text></g>\n");
}

static int compare_children(const void *a, const void *b, void *ctx)
{
	const uint32_t *x = a, *y = b;
	const struct graph *graph = ctx;

	return strcmp(profile_text(graph->profile, graph->nodes.v[*x].name),
	              profile_text(graph->profile, graph->nodes.v[*y].name));
}

/* Puts a node's children below it, sorted, and onto the list of those to draw. */
static void place_children(struct graph *graph, uint32_t parent, double per_unit,
                           struct bytes *todo)
{
	ARRAY(uint32_t) order = {0};
	double x = graph->nodes.v[parent].x;

	for (uint32_t c = graph->nodes.v[parent].first_child; c != 0;
	     c = graph->nodes.v[c].next_brother)
		array_push(&order, c);
	if (order.n > 0)
		qsort_r(order.v, order.n, sizeof *order.v, compare_children, graph);
	for (size_t i = 0; i < order.n; i++) {
		struct node *node = &graph->nodes.v[order.v[i]];
		double width = (double)node->value * per_unit;

		node->x = x;
		x += width;
		if (width >= NARROWEST)
			bytes_append(todo, &order.v[i], sizeof order.v[i]);
	}
	array_fini(&order);
}

/* A list instead of recursion: stacks may be deeper than ours. */
static void write_frames(struct graph *graph)
{
	struct bytes todo = {0};
	int64_t total = graph->nodes.v[0].value;
	double per_unit = total > 0 ? (WIDTH - 2 * MARGIN) / (double)total : 0;
	uint32_t id = 0;

	graph->nodes.v[0].x = MARGIN;
	bytes_append(&todo, &id, sizeof id);
	while (todo.n > 0) {
		todo.n -= sizeof id;
		memcpy(&id, todo.v + todo.n, sizeof id);
		const struct node *node = &graph->nodes.v[id];
		double width = id == 0 ? WIDTH - 2 * MARGIN
		                       : (double)node->value * per_unit;
		write_frame(graph, node, width);
		place_children(graph, id, per_unit, &todo);
	}
	bytes_fini(&todo);
}

static void write_style(struct bytes *out)
{
	static const char *const fill[NCOLOURS + 1] = {
	        "#f4a582", "#f6c28b", "#f2d58a", "#dbd48a", "#b9d18f", "#9ecfa5", "#93cbbf",
	        "#97c3d9", "#a9b8e0", "#c4b0de", "#dcaed0", "#efa7b4", "#d0d0d0",
	};

	bytes_printf(out, "<style>\n"
	                  "text{font:12px monospace;fill:#222}\n"
	                  ".f{cursor:pointer}.f text{pointer-events:none}\n"
	                  ".f:hover rect{stroke:#222}.up rect{opacity:.5}\n"
	                  ".hit rect{fill:#c0f}.hit text{fill:#fff}\n"
	                  ".b{cursor:pointer;text-decoration:underline}\n");
	for (unsigned i = 0; i <= NCOLOURS; i++)
		bytes_printf(out, ".c%u{fill:%s}\n", i, fill[i]);
	bytes_printf(out, "</style>\n");
}

static void write_head(struct graph *graph)
{
	struct bytes *out = graph->out;
	const struct profile *profile = graph->profile;
	const char *type = profile_text(profile, profile->types[profile->ntypes - 1].type);
	double height = TOP + (graph->deepest + 1) * ROW + MARGIN;
	char number[64];

	words_number(number, sizeof number, graph->nodes.v[0].value, graph->scale);
	bytes_printf(out,
	             "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	             "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" "
	             "height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n<desc>",
	             WIDTH, height, WIDTH, height);
	for (size_t i = 0; i < profile->comments.n; i++) {
		const char *comment = profile_text(profile, profile->comments.v[i]);

		if (*comment == '#') /* readers of pprof hide those, too */
			continue;
		escape(out, comment, strlen(comment));
		bytes_printf(out, "\n");
	}
	bytes_printf(out, "</desc>\n");
	write_style(out);
	bytes_printf(out,
	             "<rect width=\"%.0f\" height=\"%.0f\" fill=\"#fff\"/>\n"
	             "<text x=\"%.0f\" y=\"18\">",
	             WIDTH, height, MARGIN);
	escape(out, type, strlen(type));
	bytes_printf(out, ": %s</text>\n", number);
	bytes_printf(out,
	             "<text class=\"b\" id=\"search\" x=\"%.0f\" y=\"18\">search</text>\n"
	             "<text class=\"b\" id=\"reset\" x=\"%.0f\" y=\"18\">reset</text>\n"
	             "<text id=\"info\" x=\"%.0f\" y=\"36\"></text>\n",
	             WIDTH - 130, WIDTH - 60, MARGIN);
}

static int svg_write(struct profile *profile, struct bytes *out, struct error *err)
{
	struct graph graph = {.profile = profile, .out = out};
	const struct profile_value_type *type = &profile->types[profile->ntypes - 1];
	struct node root = {0};

	(void)err;
	names_init(&graph.names, profile);
	array_push(&graph.nodes, root);
	for (size_t i = 0; i < profile->samples.n; i++)
		add_sample(&graph, &profile->samples.v[i]);
	graph.scale = words_scale(profile_text(profile, type->unit),
	                          graph.nodes.v[0].value);

	write_head(&graph);
	write_frames(&graph);
	bytes_printf(out, "<script><![CDATA[\n%s]]></script>\n</svg>\n", svg_script);

	names_fini(&graph.names);
	array_fini(&graph.nodes);
	hashmap_fini(&graph.children);
	return 0;
}

static const char *const suffixes[] = {".svg", NULL};

const struct writer writer_svg = {
        .name = "svg",
        .suffixes = suffixes,
        .description = "a flame graph to open in a browser",
        .write = svg_write,
};
