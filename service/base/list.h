/* An intrusive doubly linked list: the link lives in the element, nothing is allocated.
 * A head or an unlinked element points to itself, so that removing twice does no harm.
 * Thread: one owner. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/rc.h"

struct list {
    struct list *next, *previous;
};

static inline void list_init(struct list *list)
{
    list->next = list->previous = list;
}
static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}
static inline void list_remove(struct list *element)
{
    element->previous->next = element->next;
    element->next->previous = element->previous;
    list_init(element);
}
/* At the end; the element must be initialised and in no list. */
static inline void list_append(struct list *list, struct list *element)
{
    element->previous = list->previous;
    element->next = list;
    list->previous->next = element;
    list->previous = element;
}
/* The first element, taken out; NULL when the list is empty. */
static inline struct list *list_pop(struct list *list)
{
    struct list *first = list->next;
    if (first == list)
        return NULL;
    list_remove(first);
    return first;
}

#endif
