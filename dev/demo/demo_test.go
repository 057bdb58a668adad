package demo

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	consulapi "github.com/hashicorp/consul/api"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestAsk_readsTheAnswerAndHowItWasServed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if string(b) != Body || r.URL.Path != "/v1/chat/completions" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set(pd.HeaderPath, "disaggregated")
		w.Header().Set(pd.HeaderPrefill, "p1")
		w.Header().Set(pd.HeaderDecode, "d1")
		w.Write([]byte(`{"choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}`))
	}))
	defer s.Close()
	a, err := Ask(t.Context(), s.URL, Body)
	require.NoError(t, err)
	require.Equal(t, "hello", a.Text)
	require.Equal(t, pd.PathDisaggregated, a.Path)
	require.Equal(t, []string{"p1", "d1"}, []string{a.Prefill, a.Decode})
	require.Equal(t, []int{7, 2}, []int{a.PromptTokens, a.CompletionTokens})
}

func TestAsk_refusesAnEmptyAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"choices":[{"message":{"content":""}}]}`))
	}))
	defer s.Close()
	_, err := Ask(t.Context(), s.URL, Body)
	require.ErrorContains(t, err, "200 without an answer")
}

func TestReadTransfers_sumsEnginesAndSources(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `# TYPE vllm:nixl_bytes_transferred histogram
vllm:nixl_bytes_transferred_bucket{engine="0",le="+Inf"} 2
vllm:nixl_bytes_transferred_count{engine="0"} 2
vllm:nixl_bytes_transferred_sum{engine="0"} 1.114112e+06
# TYPE vllm:nixl_xfer_time_seconds histogram
vllm:nixl_xfer_time_seconds_bucket{engine="0",le="+Inf"} 2
vllm:nixl_xfer_time_seconds_count{engine="0"} 2
vllm:nixl_xfer_time_seconds_sum{engine="0"} 0.25
# TYPE vllm:prompt_tokens_by_source_total counter
vllm:prompt_tokens_by_source_total{engine="0",source="local_compute"} 9
vllm:prompt_tokens_by_source_total{engine="0",source="external_kv_transfer"} 530
`)
	}))
	defer s.Close()
	got, err := ReadTransfers(t.Context(), s.URL)
	require.NoError(t, err)
	require.Equal(t, Transfers{Count: 2, Bytes: 1114112, Seconds: 0.25, PromptTokens: 530}, got)
	require.Equal(t, Transfers{Count: 1, Bytes: 1114112 - 4, Seconds: 0.25, PromptTokens: 530}, got.Sub(Transfers{Count: 1, Bytes: 4}))
}

func TestStage_followsNomadThenConsul(t *testing.T) {
	check := func(id, status string) *consulapi.HealthCheck {
		return &consulapi.HealthCheck{ServiceID: "_nomad-task-" + id + "-group-prefill-vllm-http", Status: status}
	}
	alloc := func(status string, events ...*nomadapi.TaskEvent) *nomadapi.AllocationListStub {
		return &nomadapi.AllocationListStub{ID: "a1", ClientStatus: status, TaskStates: map[string]*nomadapi.TaskState{"vllm": {Events: events}}}
	}
	for _, c := range []struct {
		name   string
		alloc  *nomadapi.AllocationListStub
		checks consulapi.HealthChecks
		want   Stage
		detail string
	}{
		{"placed", alloc("pending"), nil, StagePlaced, ""},
		{"no check yet", alloc("running"), consulapi.HealthChecks{check("other", "passing")}, StageLoading, ""},
		{"critical", alloc("running"), consulapi.HealthChecks{check("a1", "critical")}, StageLoading, ""},
		{"passing", alloc("running"), consulapi.HealthChecks{check("a1", "passing")}, StageHealthy, ""},
		{"failed", alloc("failed", &nomadapi.TaskEvent{Type: nomadapi.TaskDriverFailure, DisplayMessage: "no such port label"},
			&nomadapi.TaskEvent{Type: nomadapi.TaskNotRestarting, DisplayMessage: "exceeded"}), nil, StageFailed, "no such port label"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, detail := stage(c.alloc, c.checks)
			require.Equal(t, c.want, got)
			require.Equal(t, c.detail, detail)
		})
	}
}

func TestPlacementReason_saysTheWayOut(t *testing.T) {
	require.Contains(t, placementReason(&nomadapi.AllocationMetric{ConstraintFiltered: map[string]int{"missing devices": 3}}),
		`"missing devices" filtered 3 nodes; no node has that many matching GPUs: lower device "nvidia/gpu" { count }`)
	require.Contains(t, placementReason(&nomadapi.AllocationMetric{DimensionExhausted: map[string]int{"memory": 1}}), "memory exhausted on 1 nodes")
	require.Equal(t, "2 nodes evaluated, none fits", placementReason(&nomadapi.AllocationMetric{NodesEvaluated: 2}))
}

func TestReady_givesUpWithTheRoutersWords(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no decode instance", http.StatusServiceUnavailable)
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, Ready(ctx, s.URL), "503 Service Unavailable: no decode instance")
}
