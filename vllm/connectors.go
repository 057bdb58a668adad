package vllm

import "slices"

// Names of vLLM's KV connectors, as its factory registers them.
const (
	NixlConnector          = "NixlConnector" // an alias of NixlPullConnector
	NixlPullConnector      = "NixlPullConnector"
	NixlPushConnector      = "NixlPushConnector"
	LMCacheConnectorV1     = "LMCacheConnectorV1"
	LMCacheMPConnector     = "LMCacheMPConnector"
	MooncakeConnector      = "MooncakeConnector"
	MooncakeStoreConnector = "MooncakeStoreConnector"
	OffloadingConnector    = "OffloadingConnector"
	SimpleCPUOffload       = "SimpleCPUOffloadConnector"
	MultiConnector         = "MultiConnector"
	MoRIIOConnector        = "MoRIIOConnector"
	FlexKVConnectorV1      = "FlexKVConnectorV1"
	DecodeBenchConnector   = "DecodeBenchConnector"
	ExampleConnector       = "ExampleConnector"
	ExampleHiddenStates    = "ExampleHiddenStatesConnector"
	HiSparseConnector      = "HiSparseConnector"
	HF3FSKVConnector       = "HF3FSKVConnector"
)

// Connectors lists every connector name that vLLM registers, sorted.
func Connectors() []string {
	names := []string{
		NixlConnector, NixlPullConnector, NixlPushConnector,
		LMCacheConnectorV1, LMCacheMPConnector,
		MooncakeConnector, MooncakeStoreConnector,
		OffloadingConnector, SimpleCPUOffload, MultiConnector, MoRIIOConnector,
		FlexKVConnectorV1, DecodeBenchConnector,
		ExampleConnector, ExampleHiddenStates, HiSparseConnector, HF3FSKVConnector,
	}
	slices.Sort(names)
	return names
}

// KnownConnector reports whether vLLM registers a connector of that name.
func KnownConnector(name string) bool { return slices.Contains(Connectors(), name) }
