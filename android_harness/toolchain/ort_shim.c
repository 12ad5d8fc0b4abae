/* Stands in for the ONNX Runtime 1.17 that the Java API's glue is linked against: loads the library named by
 * ORT_LIBRARY instead, whose OrtGetApiBase serves every older version of the API. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef const void *(*ApiBase)(void);

static ApiBase find_api(void) {
  const char *path = getenv("ORT_LIBRARY");
  void *library = dlopen(path ? path : "libonnxruntime.so.1", RTLD_NOW | RTLD_LOCAL);
  ApiBase found = library ? (ApiBase)dlsym(library, "OrtGetApiBase") : NULL;
  if (!found) {
    fprintf(stderr, "ORT_LIBRARY %s: %s\n", path ? path : "is not set", dlerror());
    exit(2);
  }
  return found;
}

const void *OrtGetApiBase(void) {
  static ApiBase api_base;
  if (!api_base) api_base = find_api();
  return api_base();
}

/* The glue links to it though nobody here calls it; the CPU provider is always there. */
void *OrtSessionOptionsAppendExecutionProvider_CPU(void *options, int use_arena) {
  (void)options;
  (void)use_arena;
  return NULL;
}
