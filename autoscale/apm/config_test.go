package apm_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/apm"
)

func TestParseConfig_defaults(t *testing.T) {
	c, err := apm.ParseConfig(map[string]string{"nomad_address": "http://127.0.0.1:4646", "nomad_token": "secret"})
	require.NoError(t, err)
	require.Equal(t, apm.Config{ConsulService: "vllm", ScrapeTimeout: 2 * time.Second}, c)
}

func TestParseConfig_everyKey(t *testing.T) {
	c, err := apm.ParseConfig(map[string]string{
		"consul_addr": "https://consul:8501", "consul_token": "t", "consul_service": "llama", "scrape_timeout": "500ms",
	})
	require.NoError(t, err)
	require.Equal(t, apm.Config{ConsulAddr: "https://consul:8501", ConsulToken: "t", ConsulService: "llama", ScrapeTimeout: 500 * time.Millisecond}, c)
}

func TestParseConfig_namesEveryProblem(t *testing.T) {
	_, err := apm.ParseConfig(map[string]string{"consul_address": "x", "scrape_timeout": "2"})
	require.ErrorContains(t, err, `apm config "consul_address": unknown key; want consul_addr, consul_token, consul_service, scrape_timeout`)
	require.ErrorContains(t, err, `apm config scrape_timeout = "2": want a time of at least 10ms`)
}
