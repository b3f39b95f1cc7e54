/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread does all the work, so that what it works with needs no locks: the
 * resolver, with modules that were opened once more for it, and the profile that
 * is being filled, whose owner waits. The lock is for what others hand over:
 * bindings, wanted addresses, the profile. It is held for moments, and never while a
 * name is looked up.
 *
 * The thread is the last to get a processor while sampling goes on, and an equal
 * of others while somebody waits for a profile. Only who has the right to come
 * back from a high nice value goes there; else the waiting would be endless on a
 * busy machine.
 */
#include "symbol/symbol.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/array.h"
#include "base/hashmap.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "symbol/fill.h"
#include "target/root.h"

/* Addresses that wait for the thread. */
#define WANTED_MAX 65536

#define BACKGROUND_NICE 19

struct wanted {
	uint32_t code;
	uint64_t address;
};

struct symbolizer {
	struct resolver resolver;
	pthread_mutex_t lock;
	pthread_cond_t work; /* the thread's, to wait for some */
	pthread_cond_t done; /* of who waits for the thread */
	/* Behind the lock: */
	ARRAY(struct binding) bindings; /* number - 1 */
	struct hashmap by_code;         /* whose code, and bias -> number */
	struct hashmap by_module;       /* see module_key -> struct resolver_module * */
	struct hashmap by_target;       /* struct target * -> struct symbol_process * */
	ARRAY(struct symbol_process *) processes;
	size_t processes_held; /* what they have read; of who fills a profile */
	ARRAY(struct wanted) wanted;
	struct symbol_stats stats;
	/* Set with it, looked at without: */
	struct profile *_Atomic profile; /* to be filled */
	_Atomic bool ends;
	/* The thread's: */
	pthread_t thread;
	bool started;
	pid_t tid;
	bool may_rise; /* from BACKGROUND_NICE to own_nice */
	int own_nice;
};

struct symbolizer *symbolizer_new(const struct symbol_options *options)
{
	struct symbolizer *symbolizer = xcalloc(1, sizeof *symbolizer);

	resolver_init(&symbolizer->resolver, options);
	pthread_mutex_init(&symbolizer->lock, NULL);
	pthread_cond_init(&symbolizer->work, NULL);
	pthread_cond_init(&symbolizer->done, NULL);
	return symbolizer;
}

/* With the lock held. */
static void set_nice(const struct symbolizer *symbolizer, int nice)
{
	if (symbolizer->may_rise)
		(void)setpriority(PRIO_PROCESS, (id_t)symbolizer->tid, nice);
}

static void end_thread(struct symbolizer *symbolizer)
{
	if (!symbolizer->started)
		return;
	/* It may wait for a server. */
	module_give_up();
	pthread_mutex_lock(&symbolizer->lock);
	symbolizer->ends = true;
	/* Somebody waits for it now: on a busy machine its turn may be seconds away. */
	set_nice(symbolizer, symbolizer->own_nice);
	pthread_cond_signal(&symbolizer->work);
	pthread_mutex_unlock(&symbolizer->lock);
	pthread_join(symbolizer->thread, NULL);
}

void symbolizer_free(struct symbolizer *symbolizer)
{
	if (!symbolizer)
		return;
	end_thread(symbolizer);
	for (size_t i = 0; i < symbolizer->processes.n; i++)
		symbol_process_free(symbolizer->processes.v[i]);
	array_fini(&symbolizer->processes);
	array_fini(&symbolizer->bindings);
	array_fini(&symbolizer->wanted);
	hashmap_fini(&symbolizer->by_code);
	hashmap_fini(&symbolizer->by_module);
	hashmap_fini(&symbolizer->by_target);
	resolver_fini(&symbolizer->resolver);
	pthread_mutex_destroy(&symbolizer->lock);
	pthread_cond_destroy(&symbolizer->work);
	pthread_cond_destroy(&symbolizer->done);
	free(symbolizer);
}

/* A pointer that the map has for a key, and whether it has one at all. */
static bool get_pointer(const struct hashmap *map, uint64_t key, void **value)
{
	uint64_t number;

	if (!hashmap_get(map, key, &number))
		return false;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): the map holds integers */
	*value = (void *)(uintptr_t)number;
	return true;
}

static void put_pointer(struct hashmap *map, uint64_t key, const void *value)
{
	hashmap_put(map, key, (uint64_t)(uintptr_t)value);
}

static struct symbol_process *process_of(struct symbolizer *symbolizer,
                                         const struct target *target)
{
	uint64_t key = (uint64_t)(uintptr_t)target;
	void *process;

	if (!get_pointer(&symbolizer->by_target, key, &process)) {
		process = symbol_process_new(target, &symbolizer->processes_held);
		put_pointer(&symbolizer->by_target, key, process);
		array_push(&symbolizer->processes, process);
	}
	return process;
}

/*
 * Two targets may run one file and have roots of their own, each with another debug
 * file for it. So it is one only for those who see the same files.
 */
static uint64_t module_key(const struct module *module, const struct target *target)
{
	struct {
		uint64_t module, target;
		struct root_identity root;
	} parts = {.module = (uint64_t)(uintptr_t)module};

	if (target && root_identify(target, &parts.root) < 0)
		parts.target = (uint64_t)(uintptr_t)target;
	return hash_bytes(&parts, sizeof parts, hash_seed());
}

static struct resolver_module *module_of(struct symbolizer *symbolizer,
                                         const struct module *module,
                                         const struct target *target, uint64_t key)
{
	void *known;

	if (!get_pointer(&symbolizer->by_module, key, &known)) {
		known = resolver_module(&symbolizer->resolver, module, target);
		put_pointer(&symbolizer->by_module, key, known);
	}
	return known;
}

static uint32_t bind(struct symbolizer *symbolizer, struct module *module, uint64_t bias,
                     const struct target *target)
{
	uint64_t whose = module ? module_key(module, target) : (uint64_t)(uintptr_t)target;
	const uint64_t parts[] = {module != NULL, whose, bias};
	uint64_t key = hash_bytes(parts, sizeof parts, hash_seed()), number;
	struct binding binding = {.bias = bias, .is_elf = module != NULL};

	if (hashmap_get(&symbolizer->by_code, key, &number))
		return (uint32_t)number;
	if (module)
		binding.module = module_of(symbolizer, module, target, whose);
	else if (target)
		binding.process = process_of(symbolizer, target);
	array_push(&symbolizer->bindings, binding);
	number = symbolizer->bindings.n;
	hashmap_put(&symbolizer->by_code, key, number);
	return (uint32_t)number;
}

uint32_t symbolizer_bind(struct symbolizer *symbolizer, struct module *module,
                         uint64_t bias, const struct target *target)
{
	uint32_t code;

	if (!module)
		bias = 0;
	pthread_mutex_lock(&symbolizer->lock);
	code = bind(symbolizer, module, bias, target);
	pthread_mutex_unlock(&symbolizer->lock);
	return code;
}

void symbolizer_want(struct symbolizer *symbolizer, uint32_t code, uint64_t address)
{
	const struct wanted wanted = {.code = code, .address = address};

	if (!symbolizer->started || code == 0)
		return;
	/* Whoever samples must not wait until the thread, which may hold the lock, is
	 * given a processor. What is dropped is asked for again in the end. */
	if (pthread_mutex_trylock(&symbolizer->lock) != 0)
		return;
	/* What JIT code is called is known when its process has written it down. */
	if (symbolizer->bindings.v[code - 1].module && symbolizer->wanted.n < WANTED_MAX) {
		array_push(&symbolizer->wanted, wanted);
		pthread_cond_signal(&symbolizer->work);
	}
	pthread_mutex_unlock(&symbolizer->lock);
}

/* Copies the bindings of a profile's mappings. With the lock held. */
static struct binding *bindings_of(const struct symbolizer *symbolizer,
                                   const struct profile *profile)
{
	struct binding *bindings = xcalloc(profile->mappings.n, sizeof *bindings);

	for (size_t i = 0; i < profile->mappings.n; i++) {
		uint32_t code = profile->mappings.v[i].code;

		if (code > 0 && code <= symbolizer->bindings.n)
			bindings[i] = symbolizer->bindings.v[code - 1];
	}
	return bindings;
}

/* With the lock held, which is let go meanwhile. */
static void work_on_profile(struct symbolizer *symbolizer, struct profile *profile)
{
	struct binding *bindings = bindings_of(symbolizer, profile);
	struct symbol_stats stats = symbolizer->stats;

	for (size_t i = 0; i < symbolizer->processes.n; i++)
		symbol_process_renew(symbolizer->processes.v[i]);
	pthread_mutex_unlock(&symbolizer->lock);
	fill_profile(&symbolizer->resolver, profile, bindings, &stats);
	free(bindings);
	pthread_mutex_lock(&symbolizer->lock);
	symbolizer->stats = stats;
}

/* Until somebody waits for a profile. With the lock held, which is let go meanwhile. */
static void work_on_wanted(struct symbolizer *symbolizer)
{
	ARRAY(struct wanted) batch = {0};
	struct binding *bindings = xcalloc(symbolizer->bindings.n, sizeof *bindings);

	memcpy(bindings, symbolizer->bindings.v, symbolizer->bindings.n * sizeof *bindings);
	array_reserve(&batch, symbolizer->wanted.n);
	while (symbolizer->wanted.n > 0)
		array_push(&batch, symbolizer->wanted.v[--symbolizer->wanted.n]);
	pthread_mutex_unlock(&symbolizer->lock);
	for (size_t i = 0; i < batch.n && !symbolizer->profile && !symbolizer->ends; i++) {
		const struct binding *binding = &bindings[batch.v[i].code - 1];

		(void)resolver_resolve(&symbolizer->resolver, binding->module,
		                       batch.v[i].address - binding->bias);
	}
	array_fini(&batch);
	free(bindings);
	pthread_mutex_lock(&symbolizer->lock);
}

static void *symbolizer_main(void *arg)
{
	const struct sched_param none = {0};
	struct symbolizer *symbolizer = arg;

	privilege_forget_output();
	pthread_mutex_lock(&symbolizer->lock);
	symbolizer->tid = gettid();
	(void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
	symbolizer->own_nice = getpriority(PRIO_PROCESS, 0);
	/* Whoever may go below what is ours may come back to it. */
	symbolizer->may_rise = setpriority(PRIO_PROCESS, 0, symbolizer->own_nice - 1) == 0;
	if (symbolizer->may_rise)
		(void)setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE);
	while (!symbolizer->ends) {
		if (symbolizer->profile) {
			work_on_profile(symbolizer, symbolizer->profile);
			symbolizer->profile = NULL;
			pthread_cond_broadcast(&symbolizer->done);
		} else if (symbolizer->wanted.n > 0) {
			work_on_wanted(symbolizer);
		} else {
			pthread_cond_wait(&symbolizer->work, &symbolizer->lock);
		}
	}
	pthread_mutex_unlock(&symbolizer->lock);
	return NULL;
}

int symbolizer_start(struct symbolizer *symbolizer, struct error *err)
{
	int r = pthread_create(&symbolizer->thread, NULL, symbolizer_main, symbolizer);

	if (r != 0)
		return error_set(err, EXIT_CODE_FAILURE, "cannot start a thread: %s",
		                 strerror(r));
	symbolizer->started = true;
	return 0;
}

/* With the lock held, which is let go meanwhile. */
static void hand_over(struct symbolizer *symbolizer, struct profile *profile)
{
	while (symbolizer->profile)
		pthread_cond_wait(&symbolizer->done, &symbolizer->lock);
	symbolizer->profile = profile;
	set_nice(symbolizer, symbolizer->own_nice);
	pthread_cond_signal(&symbolizer->work);
	while (symbolizer->profile == profile)
		pthread_cond_wait(&symbolizer->done, &symbolizer->lock);
	if (!symbolizer->profile)
		set_nice(symbolizer, BACKGROUND_NICE);
}

void symbolizer_fill(struct symbolizer *symbolizer, struct profile *profile)
{
	module_hurry(true);
	pthread_mutex_lock(&symbolizer->lock);
	if (symbolizer->started)
		hand_over(symbolizer, profile);
	else
		work_on_profile(symbolizer, profile);
	pthread_mutex_unlock(&symbolizer->lock);
	module_hurry(false);
}

struct symbol_stats symbolizer_stats(struct symbolizer *symbolizer)
{
	struct symbol_stats stats;

	pthread_mutex_lock(&symbolizer->lock);
	stats = symbolizer->stats;
	pthread_mutex_unlock(&symbolizer->lock);
	return stats;
}

const char *symbolizer_lookup(struct symbolizer *symbolizer, struct module *module,
                              uint64_t vaddr, uint64_t *distance)
{
	struct resolver_module *known = module_of(symbolizer, module, NULL,
	                                          module_key(module, NULL));

	return known ? resolver_lookup(&symbolizer->resolver, known, vaddr, distance)
	             : NULL;
}
