/* The curve walk (see engine/walk.py), for one type REAL; included once for each.
 *
 * A layer of edges `sum_h relu(w_h z + b_h) u_h(x) + v(x)` with units u_h(x) = W_h . features(x). Between two kinks the
 * sum over h is P + z Q. Tables of P and Q are made for a stretch of lanes of a few sources at a time, and only for the
 * segments between the least and the greatest prompt of a chunk of edges: they stay in the caches nearest to the
 * processor while all outputs pass. Units come in the order of their kinks.
 *
 * A source is an input, or one phase of a channel of a convolution (then `taps` edges read it, each `shift` lanes
 * ahead). Lanes are samples, or positions of all images in a row.
 *
 * Forward keeps an output in registers while it adds several edges. Backward adds outputs to their segments, four at
 * a time: outputs of an edge come in order of their segment, and each segment is filled up with an output that is zero.
 */

enum { NAME(WIDE) = 32 / sizeof(REAL), NAME(PARTS) = 4, NAME(LANES) = 128 / sizeof(REAL), NAME(LONG) = 64 / sizeof(REAL) };

typedef REAL NAME(wide) __attribute__((vector_size(32), aligned(sizeof(REAL)), may_alias));
typedef REAL NAME(long_) __attribute__((vector_size(64), aligned(sizeof(REAL)), may_alias));
typedef INTEGER NAME(long_indices) __attribute__((vector_size(64), may_alias));
typedef INTEGER NAME(wide_indices) __attribute__((vector_size(32), may_alias));
typedef REAL NAME(quad) __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

typedef struct {
    Py_ssize_t sources, phases, taps, lanes, readable, halo, outputs, units, columns, rows;
    const REAL *x, *sigmoid;     /* `x_source` apart, and x_lane */
    Py_ssize_t x_source, x_lane;
    const uint8_t *mask;         /* (phases, readable), zero where there is no sample; or null */
    const int32_t *tap_starts, *tap_edges, *shifts; /* taps of each phase: their edge in a channel, and shift */
    NAME(knots) knots;
    Py_ssize_t order;            /* of splines, or -1 where the features are given */
    const REAL *pieces, *slopes; /* of the splines, (order + 1, order + 1), and of their derivatives */
    const REAL *features;        /* where they are given: numbers `feature_apart` apart, else as x */
    Py_ssize_t feature_apart;
    REAL *features_gradient;     /* in the same layout, or null */
    const REAL *prompts;         /* (outputs, sources / phases * taps), rows prompt_stride apart */
    Py_ssize_t prompt_stride;
    const REAL *kinks, *factors; /* of each unit: its kink; b, w, whether it is active before all kinks, the change */
    const REAL *weights;         /* (rows, columns): of each feature, and v in the column after the units */
    REAL *y;                     /* or */
    const REAL *gradient;        /* that of y, */
    Py_ssize_t y_output, y_lane;
    const int64_t *runs;         /* or null: (first lane, lanes, place of the first) where lanes are not all in y */
    Py_ssize_t run_count;
    REAL *x_gradient;            /* like x with its own distances, or null */
    Py_ssize_t dx_source, dx_lane;
    REAL *prompt_gradient;       /* or null */
    Py_ssize_t dz_stride;
    double *sums;                /* b and w of each unit, then the weights */
    /* how the work is cut, and memory for it */
    Py_ssize_t stretch, block, group, groups, chunk, first, count, table, threads, tile, slots, places;
    REAL *sorted;                /* prompts: of `slots` edges together (outputs, edges), or in order of their segments */
    uint16_t *segments;          /* of these, or, for those in order, */
    uint16_t *ordered;           /* the outputs of those in order, and */
    int32_t *ends;               /* where each segment ends, (edges, segments), */
    REAL *pulled;                /* the gradient of these prompts */
    int32_t *ranges;             /* the least and greatest segment of each tile of edges */
    Py_ssize_t low, high;        /* and those of the chunk */
    REAL *used;                  /* (rows, used_columns): the units that change between, P and Q of the least segment */
    Py_ssize_t used_columns;
    double *found;               /* of each thread: b and w of the units that change, then as `used` */
    REAL *scratch;               /* of each thread */
    Py_ssize_t scratch_size, recent_size, found_size, backward;
    char *memory;
} NAME(walk);

/* What a thread holds of one stretch of lanes. */
typedef struct {
    REAL *block, *values, *slope, *inside, *rows, *units, *tables, *gradients, *recent, *points;
    int32_t *cell;
    Py_ssize_t fetched; /* the first of the WIDE sources whose points are there, or -1 */
} NAME(tables);

INLINED Py_ssize_t NAME(met)(const NAME(walk) *walk)
{
    return walk->order < 0 ? walk->rows : walk->order + 2;
}

INLINED Py_ssize_t NAME(table_size)(const NAME(walk) *walk)
{
    return (walk->units + 1) * 2 * walk->table;
}

INLINED Py_ssize_t NAME(least)(Py_ssize_t a, Py_ssize_t b)
{
    return a < b ? a : b;
}

/* Lay a thread's tables out from `base` on; return their size. */
static Py_ssize_t NAME(lay_out)(const NAME(walk) *walk, REAL *base, NAME(tables) *at)
{
    const Py_ssize_t lanes = walk->table, met = NAME(met)(walk), backward = walk->backward;
    const Py_ssize_t sizes[] = {
        (backward ? walk->outputs + 1 : walk->group) * walk->stretch, met * lanes, backward ? met * lanes : 0, lanes,
        lanes * walk->columns, walk->columns * lanes, (backward ? 1 : walk->slots) * NAME(table_size)(walk),
        backward ? NAME(table_size)(walk) : 0, backward ? walk->recent_size : 0, 2 * NAME(WIDE) * lanes, lanes,
    };
    REAL **places[] = {&at->block, &at->values, &at->slope, &at->inside, &at->rows, &at->units, &at->tables,
                       &at->gradients, &at->recent, &at->points, (REAL **)&at->cell};
    Py_ssize_t used = 0;
    for (size_t place = 0; place < sizeof sizes / sizeof *sizes; place++) {
        *places[place] = base + used;
        used += (sizes[place] + NAME(LANES) - 1) / NAME(LANES) * NAME(LANES);
    }
    return used;
}

/* Transpose `rows` times `columns`, multiples of WIDE. */
INLINED void NAME(transpose)(const REAL *from, Py_ssize_t from_pitch, REAL *to, Py_ssize_t to_pitch, Py_ssize_t rows,
                             Py_ssize_t columns)
{
    for (Py_ssize_t row = 0; row < rows; row += NAME(WIDE))
        for (Py_ssize_t column = 0; column < columns; column += NAME(WIDE)) {
            NAME(wide) r[NAME(WIDE)];
#pragma GCC unroll 8
            for (int k = 0; k < NAME(WIDE); k++)
                r[k] = *(const NAME(wide) *)(from + (row + k) * from_pitch + column);
            SWAPS(NAME(wide_indices), r)
#pragma GCC unroll 8
            for (int k = 0; k < NAME(WIDE); k++)
                *(NAME(wide) *)(to + (column + k) * to_pitch + row) = r[k];
        }
}

#include "walk_order.h"
#include "walk_tables.h"
#include "walk_passes.h"

/* ---- Entry points ---- */

/* Set what follows from the sizes. */
static void NAME(plan_walk)(NAME(walk) *walk)
{
    NAME(tables) unused;
    const Py_ssize_t segments = walk->units + 1, outputs = walk->outputs;
    if (walk->taps == 1 && !many_registers())
        walk->stretch = NAME(LANES);
    walk->block = walk->stretch % (2 * NAME(LANES)) == 0 && many_registers() ? 2 * NAME(LANES) : NAME(LANES);
    walk->table = walk->stretch + (walk->halo + NAME(LANES) - 1) / NAME(LANES) * NAME(LANES);
    walk->groups = walk->group ? (outputs + walk->group - 1) / walk->group : 1;
    walk->tile = walk->taps == 1 ? WALK_TILE : walk->taps;
    walk->slots = walk->taps == 1 ? MOST_TOGETHER : 1;
    walk->places = walk->backward ? (outputs + 3 * NAME(least)(outputs, segments) + 3) / 4 * 4 : outputs;
    walk->recent_size = 2 * walk->units * NAME(WIDE) + walk->rows * walk->columns;
    walk->found_size = 2 * walk->units + walk->rows * walk->columns;
    walk->scratch_size = NAME(lay_out)(walk, NULL, &unused);
    const Py_ssize_t ordering = 2 * walk->tile * NAME(padded)(outputs + 1) + 8 * segments;
    if (walk->scratch_size < ordering)
        walk->scratch_size = (ordering + NAME(LANES) - 1) / NAME(LANES) * NAME(LANES);
}

/* Take the memory of the chunk and of the threads from `base`, aligned; return the bytes needed. */
static Py_ssize_t NAME(take_memory)(NAME(walk) *walk, char *base)
{
    const Py_ssize_t edges = walk->chunk, each = edges * walk->places, real = sizeof(REAL), whole = sizeof(int32_t), half = sizeof(uint16_t);
    const Py_ssize_t tiles = (edges + walk->tile - 1) / walk->tile;
    const Py_ssize_t sizes[] = {
        walk->threads * walk->scratch_size * real, walk->rows * walk->columns * real, each * real,
        walk->backward ? each * real : 0, walk->backward ? 0 : each * half,
        walk->backward ? each * half : 0, walk->backward ? edges * (walk->units + 1) * whole : 0, 2 * tiles * whole,
    };
    char **places[] = {(char **)&walk->scratch, (char **)&walk->used, (char **)&walk->sorted, (char **)&walk->pulled,
                       (char **)&walk->segments, (char **)&walk->ordered, (char **)&walk->ends, (char **)&walk->ranges};
    char *place = (char *)(((uintptr_t)base + 63) / 64 * 64), *start = place;
    for (size_t item = 0; item < sizeof sizes / sizeof *sizes; item++) {
        *places[item] = place;
        place += (sizes[item] + 63) / 64 * 64;
    }
    walk->found = (double *)place;
    place += walk->backward ? walk->threads * walk->found_size * (Py_ssize_t)sizeof(double) : 0;
    return 64 + (place - start);
}

/* Read (shift, inverse, then integers and addresses in the order below). */
static int NAME(read_walk)(NAME(walk) *walk, PyObject *args)
{
    enum { FIELDS = 46 };
    Py_ssize_t a[FIELDS], next = 0;
    if (PyTuple_Size(args) != FIELDS + 2) {
        PyErr_Format(PyExc_TypeError, "walk: found %zd arguments, expected %d", PyTuple_Size(args), FIELDS + 2);
        return 0;
    }
    const double shift = PyFloat_AsDouble(PyTuple_GetItem(args, 0)), inverse = PyFloat_AsDouble(PyTuple_GetItem(args, 1));
    for (Py_ssize_t field = 0; field < FIELDS; field++)
        a[field] = PyNumber_AsSsize_t(PyTuple_GetItem(args, field + 2), PyExc_OverflowError);
    if (PyErr_Occurred())
        return 0;
    memset(walk, 0, sizeof *walk);
    walk->threads = a[next++], walk->sources = a[next++], walk->phases = a[next++], walk->taps = a[next++];
    walk->lanes = a[next++], walk->readable = a[next++], walk->halo = a[next++], walk->outputs = a[next++];
    walk->units = a[next++], walk->columns = a[next++], walk->rows = a[next++], walk->stretch = a[next++];
    walk->group = a[next++], walk->chunk = a[next++], walk->order = a[next++];
    walk->tap_starts = (const int32_t *)a[next++], walk->tap_edges = (const int32_t *)a[next++];
    walk->shifts = (const int32_t *)a[next++], walk->mask = (const uint8_t *)a[next++];
    walk->x = (const REAL *)a[next++], walk->sigmoid = (const REAL *)a[next++];
    walk->x_source = a[next++], walk->x_lane = a[next++];
    walk->pieces = (const REAL *)a[next++], walk->slopes = (const REAL *)a[next++];
    walk->features = (const REAL *)a[next++], walk->feature_apart = a[next++];
    walk->prompts = (const REAL *)a[next++], walk->prompt_stride = a[next++];
    walk->kinks = (const REAL *)a[next++], walk->factors = (const REAL *)a[next++], walk->weights = (const REAL *)a[next++];
    walk->y = (REAL *)a[next++], walk->gradient = walk->y, walk->y_output = a[next++], walk->y_lane = a[next++];
    walk->runs = (const int64_t *)a[next++], walk->run_count = a[next++];
    walk->x_gradient = (REAL *)a[next++], walk->features_gradient = (REAL *)a[next++];
    walk->dx_source = a[next++], walk->dx_lane = a[next++];
    walk->prompt_gradient = (REAL *)a[next++], walk->dz_stride = a[next++], walk->sums = (double *)a[next++];
    walk->memory = (char *)a[next++];
    walk->backward = a[next++];
    walk->knots = (NAME(knots)){(REAL)shift, (REAL)inverse, walk->rows - walk->order - 1};
    NAME(plan_walk)(walk);
    NAME(take_memory)(walk, walk->memory);
    return 1;
}

/* Return the bytes of memory that a walk takes beside its arguments. */
static PyObject *NAME(walk_memory)(PyObject *self, PyObject *args)
{
    NAME(walk) walk;
    if (!NAME(read_walk)(&walk, args))
        return NULL;
    return PyLong_FromSsize_t(NAME(take_memory)(&walk, NULL));
}

static PyObject *NAME(walk_run)(PyObject *self, PyObject *args)
{
    NAME(walk) walk;
    if (!NAME(read_walk)(&walk, args))
        return NULL;
    const Py_ssize_t edges = walk.sources / walk.phases * walk.taps;
    const Py_ssize_t stretches = (walk.lanes + walk.stretch - 1) / walk.stretch;
    for (walk.first = 0; walk.first < edges; walk.first += walk.chunk) {
        walk.count = NAME(least)(edges - walk.first, walk.chunk);
        const Py_ssize_t tiles = (walk.count + walk.tile - 1) / walk.tile;
        parallel(walk.backward ? NAME(order_part) : NAME(join_part), &walk, tiles, walk.threads);
        NAME(find_range)(&walk, tiles);
        NAME(choose_units)(&walk);
        if (!walk.backward) {
            parallel(NAME(walk_part), &walk, stretches * walk.groups, walk.threads);
            continue;
        }
        memset(walk.pulled, 0, (size_t)(walk.count * walk.places) * sizeof(REAL));
        memset(walk.found, 0, (size_t)(walk.threads * walk.found_size) * sizeof(double));
        parallel(NAME(pull_part), &walk, walk.count / walk.taps * walk.phases, walk.threads);
        NAME(pull_units)(&walk);
        if (walk.prompt_gradient)
            parallel(NAME(unorder_part), &walk, tiles, walk.threads);
    }
    Py_RETURN_NONE;
}
