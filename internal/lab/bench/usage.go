package bench

import (
	"io"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"
)

// Usage is what one process uses; 0 is unknown.
type Usage struct {
	Resident int64         `json:"resident_bytes"`
	CPU      time.Duration `json:"-"` // since its start
	// Only workers tell the following. HeapInUse counts the spans that hold objects,
	// garbage included; HeapLive what the last garbage collection found to be alive.
	HeapInUse  int64 `json:"heap_in_use_bytes,omitempty"`
	HeapLive   int64 `json:"heap_live_bytes,omitempty"`
	Goroutines int64 `json:"goroutines,omitempty"`
	Files      int64 `json:"open_files,omitempty"`
}

// each combines each figure of several usages into one.
func each(usages []Usage, f func([]int64) int64) Usage {
	if len(usages) == 0 {
		return Usage{}
	}
	of := func(figure func(Usage) int64) int64 {
		values := make([]int64, len(usages))
		for i, u := range usages {
			values[i] = figure(u)
		}
		return f(values)
	}
	return Usage{
		Resident:   of(func(u Usage) int64 { return u.Resident }),
		CPU:        time.Duration(of(func(u Usage) int64 { return int64(u.CPU) })),
		HeapInUse:  of(func(u Usage) int64 { return u.HeapInUse }),
		HeapLive:   of(func(u Usage) int64 { return u.HeapLive }),
		Goroutines: of(func(u Usage) int64 { return u.Goroutines }),
		Files:      of(func(u Usage) int64 { return u.Files }),
	}
}

func sum(values []int64) (total int64) {
	for _, v := range values {
		total += v
	}
	return total
}

// parseMetrics reads a worker's usage from its /metrics.
func parseMetrics(r io.Reader) (Usage, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return Usage{}, err
	}
	value := func(name string) float64 {
		for _, m := range families[name].GetMetric() {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() // one of them is there
		}
		return 0
	}
	return Usage{
		Resident:   int64(value("process_resident_memory_bytes")),
		CPU:        time.Duration(value("process_cpu_seconds_total") * float64(time.Second)),
		HeapInUse:  int64(value("go_memstats_heap_inuse_bytes")),
		HeapLive:   int64(value("go_gc_heap_live_bytes")),
		Goroutines: int64(value("go_goroutines")),
		Files:      int64(value("process_open_fds")),
	}, nil
}

// processUsage is the usage of any process of this machine; without Linux's /proc it is
// zero.
func processUsage(pid int) Usage {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}
	}
	stat, err := process.Stat()
	if err != nil {
		return Usage{}
	}
	return Usage{Resident: int64(stat.ResidentMemory()), CPU: time.Duration(stat.CPUTime() * float64(time.Second))}
}
