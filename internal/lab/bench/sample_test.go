package bench

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTrendComparesEarlyWithLate(t *testing.T) {
	t.Parallel()
	trend := Trend{After: 100}
	add := func(final, resident int) {
		s := Sample{Worker: Usage{Resident: int64(resident), Goroutines: 7}}
		s.Final = final
		trend.Add(s)
	}
	for i := range 100 { // before the first comparison
		add(i, 1)
	}
	for i := range settled {
		add(100+i, 50+i%3) // 50, 51, 52
		_, ok := trend.Early()
		assert.False(t, ok)
	}
	for range 10_000 {
		add(1000, 60)
	}
	add(1000, 99) // one that is high by chance
	early, ok := trend.Early()
	assert.True(t, ok)
	assert.Equal(t, Usage{Resident: 51, Goroutines: 7}, early)
	assert.Equal(t, Usage{Resident: 60, Goroutines: 7}, trend.Late())
	assert.Equal(t, Usage{Resident: 99, Goroutines: 7}, trend.Most())
	assert.Len(t, trend.late, settled)
}

func TestTrendOfAShortRun(t *testing.T) {
	t.Parallel()
	var trend Trend
	assert.Zero(t, trend.Late())
	for range 2*settled - 1 {
		trend.Add(Sample{Worker: Usage{Resident: 5}})
	}
	_, ok := trend.Early()
	assert.False(t, ok, "early and late would be partly the same samples")
	trend.Add(Sample{Worker: Usage{Resident: 5}})
	_, ok = trend.Early()
	assert.True(t, ok)
}

func TestParseMetrics(t *testing.T) {
	t.Parallel()
	u, err := ParseMetrics(strings.NewReader(`# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 42
go_memstats_heap_inuse_bytes 1.8e+07
go_gc_heap_live_bytes 9.5e+06
process_resident_memory_bytes 6.2e+07
process_open_fds 211
process_cpu_seconds_total 12.34
passcode_requests_total{status="sent"} 7
something else entirely
`))
	require.NoError(t, err)
	assert.Equal(t, Usage{
		Resident: 62e6, CPU: 12340 * time.Millisecond, HeapInUse: 18e6, HeapLive: 9.5e6, Goroutines: 42, Files: 211,
	}, u)
	assert.Equal(t, int64(84), u.Plus(u).Goroutines)

	_, err = ParseMetrics(strings.NewReader("go_goroutines many\n"))
	require.ErrorContains(t, err, "go_goroutines")
}

func TestProcessUsage(t *testing.T) {
	t.Parallel()
	assert.Zero(t, ProcessUsage(-1))
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	u := ProcessUsage(os.Getpid())
	assert.Greater(t, u.Resident, int64(1<<20))
	assert.Less(t, u.Resident, int64(1<<34))
}

func TestSummarise(t *testing.T) {
	t.Parallel()
	first := Sample{Worker: Usage{CPU: time.Second}, Rest: Usage{CPU: 3 * time.Second}}
	last := Sample{Elapsed: 10 * time.Second, Worker: Usage{CPU: 5 * time.Second}, Rest: Usage{CPU: 4 * time.Second}}
	last.Published, last.Final = 10_000, 9_999
	last.Latency = Latency{P50: 123456789}
	s := Summarise(first, last, &Trend{After: 5}, Audit{Accepted: 10_000})
	assert.InDelta(t, 999.9, s.PerSecond, 1e-9)
	assert.InDelta(t, .0004, s.CPU.Worker, 1e-9)
	assert.InDelta(t, .0001, s.CPU.Rest, 1e-9)
	assert.Zero(t, s.CPU.Emulator, "not told")
	assert.InDelta(t, .1235, s.Latency.P50, 1e-9)
	assert.Nil(t, s.Memory.Early)
	assert.Zero(t, Summarise(Sample{}, Sample{}, &Trend{}, Audit{}).PerSecond)
}
