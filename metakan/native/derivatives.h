/* Derivatives of uniform B-splines and of SiLU by their local support, for one type REAL; included once for each.
 *
 * Points come in `rows` of `columns`, without gaps. The number n of a point lies at `row_apart` times its row plus
 * `column_apart` times its column plus `number_apart` times n, so that one kernel serves numbers that are innermost,
 * outermost, or between channels and positions.
 */

typedef struct {
    const REAL *x, *sigmoid;
    Py_ssize_t rows, columns;
    NAME(knots) knots;
    Py_ssize_t count, order, derivatives, powers;
    const REAL *pieces;  /* of each derivative, (order + 1, order + 1) in rising powers of the place in a cell */
    const REAL *gates;   /* of each derivative of SiLU, (2, powers): polynomials in the sigmoid, the second times x */
    const REAL *factors; /* of each derivative, at each point */
    REAL *values;        /* of all numbers: the sum over derivatives of factor times function; or */
    const REAL *gradient;
    REAL *found;         /* of each derivative, at each point: the sum over numbers of gradient times function */
    Py_ssize_t row_apart, column_apart, number_apart;
} NAME(derivatives);

/* The splines that the points of a block meet, and SiLU last: values[order + 2][BLOCK]. */
INLINED void NAME(evaluate_block)(const NAME(derivatives) *call, Py_ssize_t derivative, const REAL *restrict x,
                                  const REAL *restrict sigmoid, const REAL *restrict place, REAL *restrict values,
                                  const Py_ssize_t order)
{
    const REAL *pieces = call->pieces + derivative * (order + 1) * (order + 1);
    const REAL *gates = call->gates + derivative * 2 * call->powers;
    for (Py_ssize_t r = 0; r <= order; r++)
        for (Py_ssize_t i = 0; i < BLOCK; i++) {
            REAL value = pieces[order * (order + 1) + r];
            for (Py_ssize_t power = order - 1; power >= 0; power--)
                value = value * place[i] + pieces[power * (order + 1) + r];
            values[r * BLOCK + i] = value;
        }
    for (Py_ssize_t i = 0; i < BLOCK; i++) {
        REAL alone = 0, times = 0;
        for (Py_ssize_t power = call->powers - 1; power >= 0; power--) {
            alone = alone * sigmoid[i] + gates[power];
            times = times * sigmoid[i] + gates[call->powers + power];
        }
        values[(order + 1) * BLOCK + i] = alone + x[i] * times;
    }
}

INLINED void NAME(block_range)(const NAME(derivatives) *call, Py_ssize_t start, Py_ssize_t stop, const Py_ssize_t order)
{
    const Py_ssize_t points = call->rows * call->columns, count = call->count;
    REAL x[BLOCK], sigmoid[BLOCK], place[BLOCK], values[(MOST_ORDER + 2) * BLOCK], total[(MOST_ORDER + 2) * BLOCK];
    int32_t cell[BLOCK];
    for (Py_ssize_t block = start; block < stop; block++) {
        const Py_ssize_t first = block * BLOCK, present = points - first < BLOCK ? points - first : BLOCK;
        Py_ssize_t offset[BLOCK];
        Py_ssize_t row = first / call->columns, column = first % call->columns;
        for (Py_ssize_t i = 0; i < present; i++) {
            x[i] = NAME(finite)(call->x[first + i]), sigmoid[i] = call->sigmoid[first + i];
            offset[i] = row * call->row_apart + column * call->column_apart;
            if (++column == call->columns)
                column = 0, row++;
        }
        for (Py_ssize_t i = present; i < BLOCK; i++)
            x[i] = 0, sigmoid[i] = 0;
        for (Py_ssize_t i = 0; i < BLOCK; i++)
            cell[i] = NAME(locate)(call->knots, x[i], &place[i]);
        if (call->values) {
            memset(total, 0, (size_t)((order + 2) * BLOCK) * sizeof(REAL));
            for (Py_ssize_t derivative = 0; derivative < call->derivatives; derivative++) {
                REAL factors[BLOCK] = {0};
                memcpy(factors, call->factors + derivative * points + first, (size_t)present * sizeof(REAL));
                NAME(evaluate_block)(call, derivative, x, sigmoid, place, values, order);
                for (Py_ssize_t r = 0; r <= order + 1; r++)
                    for (Py_ssize_t i = 0; i < BLOCK; i++)
                        total[r * BLOCK + i] += factors[i] * values[r * BLOCK + i];
            }
            for (Py_ssize_t n = 0; n < count; n++)
                for (Py_ssize_t i = 0; i < present; i++)
                    call->values[offset[i] + n * call->number_apart] = 0;
            for (Py_ssize_t r = 0; r <= order; r++)
                for (Py_ssize_t i = 0; i < present; i++)
                    call->values[offset[i] + NAME(spline)(cell[i] - order - 1 + r, count) * call->number_apart] = total[r * BLOCK + i];
            for (Py_ssize_t i = 0; i < present; i++)
                call->values[offset[i] + count * call->number_apart] = total[(order + 1) * BLOCK + i];
            continue;
        }
        memset(total, 0, sizeof total);
        for (Py_ssize_t r = 0; r <= order; r++)
            for (Py_ssize_t i = 0; i < present; i++) {
                const Py_ssize_t n = NAME(spline)(cell[i] - order - 1 + r, count);
                total[r * BLOCK + i] = n < count ? call->gradient[offset[i] + n * call->number_apart] : 0;
            }
        for (Py_ssize_t i = 0; i < present; i++)
            total[(order + 1) * BLOCK + i] = call->gradient[offset[i] + count * call->number_apart];
        for (Py_ssize_t derivative = 0; derivative < call->derivatives; derivative++) {
            REAL sums[BLOCK] = {0};
            NAME(evaluate_block)(call, derivative, x, sigmoid, place, values, order);
            for (Py_ssize_t r = 0; r <= order + 1; r++)
                for (Py_ssize_t i = 0; i < BLOCK; i++)
                    sums[i] += total[r * BLOCK + i] * values[r * BLOCK + i];
            memcpy(call->found + derivative * points + first, sums, (size_t)present * sizeof(REAL));
        }
    }
}

VECTORISED static void NAME(derivatives_part)(void *data, Py_ssize_t start, Py_ssize_t stop, int thread)
{
    const NAME(derivatives) *call = data;
    (void)thread;
    if (call->order == 3)
        NAME(block_range)(call, start, stop, 3);
    else
        NAME(block_range)(call, start, stop, call->order);
}

/* (threads, x, rows, columns, shift, inverse, count, order, derivatives, powers, pieces, gates, sigmoid, factors or 0,
    values or gradient, found or 0, its distances) */
static PyObject *NAME(derivatives_run)(PyObject *self, PyObject *args)
{
    NAME(derivatives) call;
    Py_ssize_t threads, x, pieces, gates, sigmoid, factors, numbers, found;
    double shift, inverse;
    if (!PyArg_ParseTuple(args, "nnnnddnnnnnnnnnnnnn", &threads, &x, &call.rows, &call.columns, &shift, &inverse, &call.count,
                          &call.order, &call.derivatives, &call.powers, &pieces, &gates, &sigmoid, &factors, &numbers, &found,
                          &call.row_apart, &call.column_apart, &call.number_apart))
        return NULL;
    call.x = (const REAL *)x, call.sigmoid = (const REAL *)sigmoid;
    call.pieces = (const REAL *)pieces, call.gates = (const REAL *)gates, call.factors = (const REAL *)factors;
    call.values = found ? NULL : (REAL *)numbers, call.gradient = (const REAL *)numbers, call.found = (REAL *)found;
    call.knots = (NAME(knots)){(REAL)shift, (REAL)inverse, call.count + call.order + 2};
    parallel(NAME(derivatives_part), &call, (call.rows * call.columns + BLOCK - 1) / BLOCK, threads);
    Py_RETURN_NONE;
}
