// Package hcl holds the example job files, so that an installed nomad-vllm can
// run them without a checkout.
package hcl

import _ "embed"

// PD is one model served by separate prefill and decode groups behind a router.
//
//go:embed pd.nomad.hcl
var PD []byte
