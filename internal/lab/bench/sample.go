package bench

import (
	"io"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"
)

// Sample is one look at a run.
type Sample struct {
	Type string `json:"type"` // "sample"
	// Seconds is the time since the run began.
	Seconds float64 `json:"seconds"`
	Progress
	// PerSecond is how many jobs a second became final since the sample before.
	PerSecond float64 `json:"jobs_per_second"`
	// Worker is what the workers use together. Rest is the process that holds the
	// broker and publishes the jobs.
	Worker   Usage `json:"worker"`
	Emulator Usage `json:"emulator"`
	Rest     Usage `json:"broker_and_bench"`
}

// Elapsed is the time since the run began.
func (s Sample) Elapsed() time.Duration { return time.Duration(s.Seconds * float64(time.Second)) }

// newSample is a sample of what was done since another one.
func newSample(elapsed time.Duration, p Progress, before Sample) Sample {
	s := Sample{Type: "sample", Seconds: elapsed.Round(time.Millisecond).Seconds(), Progress: p}
	if took := s.Seconds - before.Seconds; took > 0 {
		s.PerSecond = rounded(float64(s.Final-before.Final)/took, 10)
	}
	return s
}

// rounded leaves out the digits that say nothing: parts of a unit are kept.
func rounded(f, parts float64) float64 { return math.Round(f*parts) / parts }

// settled is of how many samples, one a second, a figure of memory is the median: a
// single one may come right before or right after a garbage collection.
const settled = 30

// Trend compares the usage of the workers early in a run with that at its end. Its size
// does not depend on how long the run is.
type Trend struct {
	After int // final jobs before the first comparison

	early, late []Usage
	most        Usage
	since       int // samples since early was complete
}

// Add takes the samples in their order.
func (t *Trend) Add(s Sample) {
	if s.Worker == (Usage{}) {
		return
	}
	switch {
	case len(t.early) == settled:
		t.since++
	case s.Final >= t.After:
		t.early = append(t.early, s.Worker)
	}
	if len(t.late) == settled {
		t.late = slices.Delete(t.late, 0, 1)
	}
	t.late = append(t.late, s.Worker)
	t.most = each([]Usage{t.most, s.Worker}, slices.Max)
}

// Memory is what was used so far.
func (t *Trend) Memory() Memory {
	m := Memory{After: t.After, Late: each(t.late, median), Most: t.most}
	if t.since >= settled {
		early := each(t.early, median)
		m.Early = &early
	}
	return m
}

func median(values []int64) int64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// Summary is what came of a run.
type Summary struct {
	Sample        // Type is "summary", PerSecond that of the whole run
	Memory Memory `json:"worker"`
	CPU    CPU    `json:"cpu_seconds_per_job"`
	Audit  Audit  `json:"audit"`
}

// Memory is what the workers together used, early in the run, at its end, and at most.
// Early and Late are medians of half a minute. Early is nil if the run was too short for
// the two to be apart.
type Memory struct {
	After int    `json:"early_after_jobs"`
	Early *Usage `json:"early,omitempty"`
	Late  Usage  `json:"late"`
	Most  Usage  `json:"most"`
}

// CPU is the time of one core that each part took for a job, in seconds.
type CPU struct {
	Worker   float64 `json:"worker"`
	Emulator float64 `json:"emulator"`
	Rest     float64 `json:"broker_and_bench"`
}

// summarise sums up what lies between the first and the last sample.
func summarise(first, last Sample, trend *Trend, audit Audit) Summary {
	last.Type = "summary"
	perJob := func(first, last Usage) float64 {
		if total := (last.CPU - first.CPU); audit.Accepted > 0 && total > 0 {
			return rounded(total.Seconds()/float64(audit.Accepted), 1e7)
		}
		return 0
	}
	cpu := CPU{perJob(first.Worker, last.Worker), perJob(first.Emulator, last.Emulator), perJob(first.Rest, last.Rest)}
	return Summary{Sample: last, Audit: audit, Memory: trend.Memory(), CPU: cpu}
}

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
