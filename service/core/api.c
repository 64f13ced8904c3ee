#include "core/api.h"

static const struct {
    const char *route, *path, *name;
} apis[API_COUNT] = {
#define X(api, route, path, name) [api] = {route, path, name},
    API_TABLE(X)
#undef X
};

const char *api_route(enum api api)
{
    return apis[api].route;
}

const char *api_path(enum api api)
{
    return apis[api].path;
}

const char *api_name(enum api api)
{
    return apis[api].name;
}

bool api_from_name(struct span name, enum api *ret)
{
    for (int i = 0; i < API_COUNT; i++)
        if (span_is(name, apis[i].name)) {
            *ret = (enum api)i;
            return true;
        }
    return false;
}

bool api_from_route(struct span path, enum api *ret)
{
    for (int i = 0; i < API_COUNT; i++)
        if (span_is(path, apis[i].route)) {
            *ret = (enum api)i;
            return true;
        }
    return false;
}

bool api_from_path(struct span path, enum api *ret)
{
    static const enum api without_v1[] = {API_CHAT, API_RESPONSES};
    for (size_t i = 0; i < COUNT_OF(without_v1); i++)
        if (span_is(path, api_path(without_v1[i]))) {
            *ret = without_v1[i];
            return true;
        }
    return api_from_route(path, ret);
}

enum error_shape api_error_shape(enum api api)
{
    switch (api) {
    case API_CHAT:
    case API_RESPONSES:
        return SHAPE_OPENAI;
    case API_MESSAGES:
        return SHAPE_ANTHROPIC;
    case API_SIMPLE:
    case API_COUNT:
        break;
    }
    return SHAPE_PROBLEM;
}

enum provider api_provider(enum api api)
{
    ASSERT(api != API_SIMPLE);
    return api == API_MESSAGES ? PROVIDER_ANTHROPIC : PROVIDER_OPENAI;
}

const char *provider_name(enum provider provider)
{
    return provider == PROVIDER_ANTHROPIC ? "anthropic" : "openai";
}
