/* JSON values that grow from deltas, without loss.
 *
 * A value is held as the raw text that came (`raw`: what json_value returns, valid and never
 * printed again), or taken apart only as far as later deltas must be joined with it.  Strings
 * grow still escaped, so that a surrogate pair split over two deltas closes by itself.
 *
 * All values of one answer live in a pool and end with it.  Failures stick in pool.rc (E_LIMIT,
 * E_NOMEM): calls after one do nothing, functions that make a value return NULL, and every
 * function takes a NULL value or an absent raw for "do nothing", so that one look at the end is
 * enough.
 *
 * Limits: bytes_max of text and names together; VALUES_MAX values; VALUE_ITEMS_MAX members or
 * parts that must be told apart in one value, which keeps the search for one short.
 * Thread: any, one owner. */
#ifndef CORE_VALUE_H
#define CORE_VALUE_H

#include "base/arena.h"
#include "base/buf.h"
#include "core/json.h"

enum { VALUES_MAX = 65536, VALUE_ITEMS_MAX = 1024 };

enum value_kind {
    VALUE_ABSENT,
    VALUE_RAW,    /* text: any JSON value */
    VALUE_STRING, /* text: a string without its quotes, still escaped */
    VALUE_LIST,   /* text: the elements of an array with commas between, without brackets */
    VALUE_OBJECT, /* items are its members */
    VALUE_PARTS   /* items are elements, or VALUE_LIST for a run of them */
};

struct value {
    enum value_kind kind;
    struct span name; /* of a member, as written, without quotes */
    struct buf text;
    struct value *items, *items_last, *item_found; /* the item that was found last */
    size_t items_count;
    struct value *next;  /* in the items of another value */
    struct value *older; /* in the pool */
};

struct value_pool {
    struct arena arena;
    struct value *newest;
    size_t count;
    size_t bytes, bytes_max;
    enum rc rc;
};

/* How a value takes in a later one of the same name.  In all of them null changes nothing once
 * there is a value, and objects are joined member by member. */
enum value_rule {
    VALUE_REPLACE, /* everything else is replaced */
    VALUE_EXTEND,  /* arrays are concatenated, the rest replaced */
    VALUE_DELTA,   /* arrays are concatenated, strings appended, except members that say what
                      something is (id, type, name, role ...), the rest replaced */
    VALUE_TYPED    /* as VALUE_DELTA, but array elements are typed parts: one with an `index`
                      joins the part of the same index and type, a `text` or `thinking` part
                      without one joins the last part if that has the same type */
};

/* Takes no memory yet. */
void value_pool_init(struct value_pool *pool, size_t bytes_max);
void value_pool_done(struct value_pool *pool);
/* Zeroed memory that lives as long as the pool; counts as one value. */
void *value_pool_alloc(struct value_pool *pool, size_t n);

struct value *value_new(struct value_pool *pool);
/* The member of this name; an absent one is added.  A value that is no object becomes one. */
struct value *value_member(struct value_pool *pool, struct value *object, struct span name);
/* NULL: there is none, or it is no object. */
struct value *value_find(const struct value *object, const char *name);

/* Become this raw value. */
void value_set(struct value_pool *pool, struct value *value, struct span raw);
/* Append still escaped text; what is no string becomes one. */
void value_append(struct value_pool *pool, struct value *value, struct span escaped);
/* Append one raw element; what is no list becomes one. */
void value_push(struct value_pool *pool, struct value *value, struct span raw);
void value_merge(struct value_pool *pool, struct value *value, struct span raw,
                 enum value_rule rule);

/* Whether there is something other than null. */
bool value_is_set(const struct value *value);
/* The text of a raw value; absent for NULL and values that were taken apart. */
struct span value_raw(const struct value *value);
/* Append the JSON text; null for an absent value. */
void value_write(const struct value *value, struct buf *out);
/* Append the members of an object, without the braces around them. */
void value_write_members(const struct value *object, struct buf *out);
/* Append `"name":value`, with a comma before it unless it comes first in `out` or an opening
 * bracket. */
void value_write_member(const struct value *value, struct span name, struct buf *out);
/* Append what comes before a member's value: a comma where one is needed, `"name":`. */
void value_write_name(struct span name, struct buf *out);

#endif
