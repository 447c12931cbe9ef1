// Declarations that only a driver needs, against the toolkit's; those of driver/types.h are held against it by the recorder's tests. Compiled,
// never run.
#include <cuda.h>

#include "simdriver/cuda_types.h"

namespace sim = gcr::sim;

#define SAME(ours, theirs) static_assert(sizeof(sim::ours) == sizeof(theirs))

SAME(HostNodeParameters, CUDA_HOST_NODE_PARAMS_v1);
SAME(GraphExecUpdateInfo, CUgraphExecUpdateResultInfo);
SAME(EdgeData, CUgraphEdgeData);
SAME(PoolProperties, CUmemPoolProps);
