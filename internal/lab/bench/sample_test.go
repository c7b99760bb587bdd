package bench

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMemoryComparesEarlyWithLate(t *testing.T) {
	t.Parallel()
	var samples []Sample
	add := func(final int, resident float64) {
		s := Sample{Worker: Usage{Resident: resident, Goroutines: 7}}
		s.Final = final
		samples = append(samples, s)
	}
	for i := range 100 { // before the first comparison
		add(i, 1)
	}
	for i := range settled {
		add(100+i, float64(50+i%3)) // 50, 51, 52
		assert.Nil(t, memory(samples, 100).Early)
	}
	for range 1000 {
		add(1000, 60)
	}
	add(1000, 99) // one that is high by chance
	assert.Equal(t, Memory{
		After: 100, Early: &Usage{Resident: 51, Goroutines: 7}, Late: Usage{Resident: 60, Goroutines: 7}, Most: Usage{Resident: 99, Goroutines: 7},
	}, memory(samples, 100))
}

func TestMemoryOfAShortRun(t *testing.T) {
	t.Parallel()
	assert.Zero(t, memory(nil, 0))
	samples := slices.Repeat([]Sample{{Worker: Usage{Resident: 5}}}, 2*settled)
	assert.Nil(t, memory(samples[1:], 0).Early, "early and late would be partly the same samples")
	assert.NotNil(t, memory(samples, 0).Early)
}

func TestUsageOfWorkers(t *testing.T) {
	t.Parallel()
	var u Usage
	metrics := `# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 42
# TYPE go_memstats_heap_inuse_bytes gauge
go_memstats_heap_inuse_bytes 1.8e+07
# TYPE go_gc_heap_live_bytes gauge
go_gc_heap_live_bytes 9.5e+06
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 6.2e+07
# TYPE process_open_fds gauge
process_open_fds 211
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 12.34
passcode_requests_total{status="sent"} 7
`
	require.NoError(t, u.add(strings.NewReader(metrics)))
	assert.Equal(t, Usage{
		Resident: 62e6, CPU: 12.34, HeapInUse: 18e6, HeapLive: 9.5e6, Goroutines: 42, Files: 211,
	}, u)
	require.NoError(t, u.add(strings.NewReader(metrics)), "of another worker")
	assert.InDelta(t, 84, u.Goroutines, 0)
	require.Error(t, u.add(strings.NewReader("go_goroutines many\n")))
}

func TestProcessUsage(t *testing.T) {
	t.Parallel()
	assert.Zero(t, processUsage(-1))
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	u := processUsage(os.Getpid())
	assert.Greater(t, u.Resident, float64(1<<20))
	assert.Less(t, u.Resident, float64(1<<34))
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	first := Sample{Worker: Usage{CPU: 1}, Broker: Usage{CPU: 3}}
	last := Sample{Type: "sample", Seconds: 10, Progress: Progress{Published: 10_000, Final: 9_999, Received: 9_999, Receipt: Latency{P90: 1e6}, Result: Latency{P50: 123456789}}}
	last.Worker, last.Broker, last.PerSecond = Usage{CPU: 5}, Usage{CPU: 4}, pace(first, last)
	s := summarise([]Sample{first, last}, 5, last.Progress, Audit{Accepted: 10_000})
	assert.InDelta(t, 999.9, s.PerSecond, 1e-9)
	assert.InDelta(t, .0004, s.CPU["worker"], 1e-9)
	assert.InDelta(t, .0001, s.CPU["broker"], 1e-9)
	assert.Zero(t, s.CPU["emulator"], "not told")
	assert.Nil(t, s.Memory.Early)
	assert.Zero(t, pace(Sample{}, Sample{}))

	text, err := json.Marshal(s)
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"summary","seconds":10,"published":10000,"received":9999,"final":9999,"statuses":null,"jobs_per_second":999.9,
		"latency_seconds":{"p50":0.123457,"p90":0,"p95":0,"p99":0,"max":0},
		"receipt_latency_seconds":{"p50":0,"p90":0.001,"p95":0,"p99":0,"max":0},
		"worker":{"early_after_jobs":5,"late":{"resident_bytes":0},"most":{"resident_bytes":0}},
		"cpu_seconds_per_job":{"worker":0.0004,"broker":0.0001},
		"broker":{"resident_bytes":0},"emulator":{"resident_bytes":0},"bench":{"resident_bytes":0},
		"audit":{"accepted":10000,"doubled":0,"lost":0,"not_accepted":0,"denied":0,"strange":0}}`, string(text))
	text, err = json.Marshal(last)
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"sample","seconds":10,"published":10000,"received":9999,"final":9999,"statuses":null,"jobs_per_second":999.9,
		"latency_seconds":{"p50":0.123457,"p90":0,"p95":0,"p99":0,"max":0},
		"receipt_latency_seconds":{"p50":0,"p90":0.001,"p95":0,"p99":0,"max":0},"worker":{"resident_bytes":0},
		"broker":{"resident_bytes":0},"emulator":{"resident_bytes":0},"bench":{"resident_bytes":0}}`, string(text))

	elsewhere, err := json.Marshal(summarise([]Sample{{}, {}}, 5, Progress{}, Audit{Accepted: 1}))
	require.NoError(t, err)
	assert.NotContains(t, string(elsewhere), "broker", "nothing is known of it")
}
