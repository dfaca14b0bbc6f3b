/* CPU kernels of the engine, as functions on addresses; see __init__.py for what they compute and who owns the memory.
 *
 * They run on the threads that torch already has: a second pool would compete with torch's, whose idle threads spin.
 * The entry point of that pool is looked up when the module is loaded, so that nothing links to an OpenMP library, and
 * where there is none one thread does all.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

/* One copy of a kernel for each instruction set; the loader takes the best that the processor has. */
#ifndef VECTORISED /* may be given, empty, for a build with -march=native */
#if defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORISED
#endif
#endif
#if defined(__GNUC__)
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static inline
#endif

#define CELLS 4096     /* of a segment search */
#define FLUSHED 1024   /* edges or points whose gradients are added up in their own type, before that in double */
#define BLOCK 64       /* points that pieces treat together */
#define MOST_ORDER 15  /* of splines */
#define MOST_FUNCTIONS 64

typedef void (*kernel)(void *call, Py_ssize_t start, Py_ssize_t stop, int thread);

typedef struct {
    kernel run;
    void *call;
    Py_ssize_t total;
} region;

static void (*open_region)(void (*)(void *), void *, unsigned, unsigned);
static int (*thread_number)(void), (*thread_count)(void);

static void find_threads(void)
{
#if defined(__unix__) || defined(__APPLE__)
    *(void **)&open_region = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    *(void **)&thread_number = dlsym(RTLD_DEFAULT, "omp_get_thread_num");
    *(void **)&thread_count = dlsym(RTLD_DEFAULT, "omp_get_num_threads");
    if (!thread_number || !thread_count)
        open_region = NULL;
#endif
}

static void take_share(void *data)
{
    region *whole = data;
    Py_ssize_t threads = thread_count(), thread = thread_number();
    whole->run(whole->call, whole->total * thread / threads, whole->total * (thread + 1) / threads, (int)thread);
}

/* Run a kernel on the ranges of `total` items, each thread taking one range; the interpreter goes on meanwhile. */
static void parallel(kernel run, void *call, Py_ssize_t total, Py_ssize_t threads)
{
    region whole = {run, call, total};
    Py_BEGIN_ALLOW_THREADS
    if (threads > 1 && open_region)
        open_region(take_share, &whole, (unsigned)threads, 0);
    else
        run(call, 0, total, 0);
    Py_END_ALLOW_THREADS
}

/* Add the sums of each thread to `sums`, in the order of the threads, so that the result is the same each time. */
static void gather_sums(double *sums, const double *parts, Py_ssize_t size, Py_ssize_t threads)
{
    for (Py_ssize_t thread = 0; thread < threads; thread++)
        for (Py_ssize_t index = 0; index < size; index++)
            sums[index] += parts[thread * size + index];
}

/* Transposing the square r of vectors: exchange blocks of halves, quarters and so on between rows. */
#if defined(__GNUC__) && !defined(__clang__)
#define WALKS 2 /* what the walk takes; Python asks for this number */
#define SHUFFLE(type, a, b, ...) __builtin_shuffle(a, b, (type){__VA_ARGS__})
#define SWAP(r, first, second, low, high)                                                  \
    {                                                                                      \
        const __typeof__((r)[0]) a_ = (r)[first], b_ = (r)[second];                        \
        (r)[first] = low, (r)[second] = high;                                              \
    }
#define HALVES_8(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 1, 2, 3, 8, 9, 10, 11), SHUFFLE(t, a_, b_, 4, 5, 6, 7, 12, 13, 14, 15))
#define PAIRS_8(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 1, 8, 9, 4, 5, 12, 13), SHUFFLE(t, a_, b_, 2, 3, 10, 11, 6, 7, 14, 15))
#define SINGLES_8(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 8, 2, 10, 4, 12, 6, 14), SHUFFLE(t, a_, b_, 1, 9, 3, 11, 5, 13, 7, 15))
#define SWAPS_8(t, r)                                                                                  \
    HALVES_8(t, r, 0, 4) HALVES_8(t, r, 1, 5) HALVES_8(t, r, 2, 6) HALVES_8(t, r, 3, 7)                \
    PAIRS_8(t, r, 0, 2) PAIRS_8(t, r, 1, 3) PAIRS_8(t, r, 4, 6) PAIRS_8(t, r, 5, 7)                    \
    SINGLES_8(t, r, 0, 1) SINGLES_8(t, r, 2, 3) SINGLES_8(t, r, 4, 5) SINGLES_8(t, r, 6, 7)
#define PAIRS_4(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 1, 4, 5), SHUFFLE(t, a_, b_, 2, 3, 6, 7))
#define SINGLES_4(t, r, i, j) SWAP(r, i, j, SHUFFLE(t, a_, b_, 0, 4, 2, 6), SHUFFLE(t, a_, b_, 1, 5, 3, 7))
#define SWAPS_4(t, r) PAIRS_4(t, r, 0, 2) PAIRS_4(t, r, 1, 3) SINGLES_4(t, r, 0, 1) SINGLES_4(t, r, 2, 3)
/* Add up each of the four vectors r, into the element of `sums` with its number. */
#define FOLD_FOUR_8(t, r, sums)                                                          \
    {                                                                                    \
        __typeof__(sums) halves_[2];                                                     \
        SINGLES_8(t, r, 0, 1) SINGLES_8(t, r, 2, 3) r[0] += r[1], r[2] += r[3];           \
        PAIRS_8(t, r, 0, 2) r[0] += r[2];                                                \
        memcpy(halves_, &(r)[0], sizeof halves_);                                        \
        sums = halves_[0] + halves_[1];                                                  \
    }
#define FOLD_FOUR_4(t, r, sums)                                             \
    PAIRS_4(t, r, 0, 2) PAIRS_4(t, r, 1, 3) r[0] += r[2], r[1] += r[3];      \
    SINGLES_4(t, r, 0, 1) r[0] += r[1];                                     \
    memcpy(&(sums), &(r)[0], sizeof(sums));
#define MOST_TOGETHER 4  /* edges that the walk adds to an output at a time */
#define WALK_TILE 16     /* inputs whose prompts are read together, a line of the cache in each output */
#define WALK_FLUSHED 128 /* samples whose part of the gradient of the weights is added up before that in double */
#else
#define WALKS 0
#endif

#define REAL float
#define INTEGER int32_t
#define SWAPS SWAPS_8
#define FOLD_FOUR FOLD_FOUR_8
#define NAME(name) name##_float
#include "curve.h"
#include "splines.h"
#include "pieces.h"
#include "derivatives.h"
#if WALKS
#include "walk.h"
#undef FOR_RUNS
#undef FOR_FEATURES
#endif
#undef REAL
#undef INTEGER
#undef SWAPS
#undef FOLD_FOUR
#undef NAME
#define REAL double
#define INTEGER int64_t
#define SWAPS SWAPS_4
#define FOLD_FOUR FOLD_FOUR_4
#define NAME(name) name##_double
#include "curve.h"
#include "splines.h"
#include "pieces.h"
#include "derivatives.h"
#if WALKS
#include "walk.h"
#endif

#define METHODS(suffix)                                                   \
    {"curve_values" #suffix, curve_values##suffix, METH_VARARGS, NULL},   \
    {"curve_pull" #suffix, curve_pull##suffix, METH_VARARGS, NULL},       \
    {"features" #suffix, features##suffix, METH_VARARGS, NULL},           \
    {"features_pull" #suffix, features_pull##suffix, METH_VARARGS, NULL}, \
    {"pieces_values" #suffix, pieces_values##suffix, METH_VARARGS, NULL}, \
    {"pieces_pull" #suffix, pieces_pull##suffix, METH_VARARGS, NULL},     \
    {"derivatives" #suffix, derivatives_run##suffix, METH_VARARGS, NULL}

#define WALK_METHODS(suffix)                                      \
    {"walk_memory" #suffix, walk_memory##suffix, METH_VARARGS, NULL}, \
    {"walk" #suffix, walk_run##suffix, METH_VARARGS, NULL}

static PyMethodDef methods[] = {
    METHODS(_float), METHODS(_double),
#if WALKS
    WALK_METHODS(_float), WALK_METHODS(_double),
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "CPU kernels of the engine.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    find_threads();
    PyObject *module = PyModule_Create(&definition);
    if (module) {
        PyModule_AddIntMacro(module, MOST_ORDER);
        PyModule_AddIntMacro(module, MOST_FUNCTIONS);
        PyModule_AddIntMacro(module, WALKS);
    }
    return module;
}
