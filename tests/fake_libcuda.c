/* The calls of the CUDA driver that nanochat/lent.py makes, over shared memory of the host: a piece of device memory is an
   anonymous file, its descriptor is exported, and mapping it is mmap. Each argument is checked as the driver checks it. Where
   the real cuda.h is at hand its declarations are used, so that a call that does not fit them does not compile. */

#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if __has_include(<cuda.h>)
#include <cuda.h>
#else
typedef int CUresult;
typedef unsigned long long CUdeviceptr, CUmemGenericAllocationHandle;
typedef int CUmemAllocationHandleType, CUmemAllocationGranularity_flags;
typedef struct { int type, id; } CUmemLocation;
typedef struct { int type, requestedHandleTypes; CUmemLocation location; void *win32HandleMetaData; unsigned char allocFlags[8]; } CUmemAllocationProp;
typedef struct { CUmemLocation location; int flags; } CUmemAccessDesc;
#define CUDAAPI
#endif

#define OK ((CUresult)0)
#define INVALID ((CUresult)1)
#define FULL ((CUresult)2)
#define STEP (2 << 20)

static int wrong(const CUmemAllocationProp *p) {
    return p->type != 1 || p->requestedHandleTypes != 1 || p->location.type != 1 || p->location.id != 0 || p->win32HandleMetaData;
}

CUresult CUDAAPI cuMemGetAllocationGranularity(size_t *step, const CUmemAllocationProp *p, CUmemAllocationGranularity_flags option) {
    if (wrong(p) || option) return INVALID;
    *step = STEP;
    return OK;
}

CUresult CUDAAPI cuMemCreate(CUmemGenericAllocationHandle *handle, size_t size, const CUmemAllocationProp *p, unsigned long long flags) {
    if (wrong(p) || flags || !size || size % STEP) return INVALID;
    if (getenv("FAKE_LIBCUDA_FULL")) return FULL;
    int file = memfd_create("device memory", 0);
    if (file < 0 || ftruncate(file, (off_t)size)) return FULL;
    *handle = (CUmemGenericAllocationHandle)file;
    return OK;
}

CUresult CUDAAPI cuMemExportToShareableHandle(void *out, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType type, unsigned long long flags) {
    if (type != 1 || flags || getenv("FAKE_LIBCUDA_NO_EXPORT")) return INVALID;
    *(int *)out = dup((int)handle);
    return OK;
}

CUresult CUDAAPI cuMemRelease(CUmemGenericAllocationHandle handle) { return close((int)handle) ? INVALID : OK; }

CUresult CUDAAPI cuMemImportFromShareableHandle(CUmemGenericAllocationHandle *handle, void *descriptor, CUmemAllocationHandleType type) {
    int file = dup((int)(size_t)descriptor);
    if (type != 1 || file < 0) return INVALID;
    *handle = (CUmemGenericAllocationHandle)file;
    return OK;
}

CUresult CUDAAPI cuMemAddressReserve(CUdeviceptr *address, size_t size, size_t alignment, CUdeviceptr at, unsigned long long flags) {
    if (!size || size % STEP || alignment || at || flags) return INVALID;
    void *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *address = (CUdeviceptr)(size_t)place;
    return place == MAP_FAILED ? FULL : OK;
}

CUresult CUDAAPI cuMemMap(CUdeviceptr address, size_t size, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags) {
    if (offset || flags || size % STEP || lseek((int)handle, 0, SEEK_END) != (off_t)size) return INVALID;
    void *place = mmap((void *)(size_t)address, size, PROT_NONE, MAP_SHARED | MAP_FIXED, (int)handle, 0);
    return place == MAP_FAILED ? INVALID : OK;
}

CUresult CUDAAPI cuMemUnmap(CUdeviceptr address, size_t size) { return munmap((void *)(size_t)address, size) ? INVALID : OK; }

CUresult CUDAAPI cuMemAddressFree(CUdeviceptr address, size_t size) { return address && size ? OK : INVALID; }

CUresult CUDAAPI cuMemSetAccess(CUdeviceptr address, size_t size, const CUmemAccessDesc *access, size_t count) {
    if (count != 1 || access->location.type != 1 || access->location.id || access->flags != 3) return INVALID;
    return mprotect((void *)(size_t)address, size, PROT_READ | PROT_WRITE) ? INVALID : OK;
}
