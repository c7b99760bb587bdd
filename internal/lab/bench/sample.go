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
	// Worker is what the workers use together. Rest is the process that holds the broker and publishes the jobs.
	Worker   Usage `json:"worker"`
	Emulator Usage `json:"emulator"`
	Rest     Usage `json:"broker_and_bench"`
}

// Elapsed is the time since the run began.
func (s Sample) Elapsed() time.Duration { return time.Duration(s.Seconds * float64(time.Second)) }

// pace is how many jobs a second became final between two samples.
func pace(before, now Sample) float64 {
	took := now.Seconds - before.Seconds
	if took <= 0 {
		return 0
	}
	return rounded(float64(now.Final-before.Final)/took, 10)
}

// rounded leaves out the digits that say nothing: parts of a unit are kept.
func rounded(f, parts float64) float64 { return math.Round(f*parts) / parts }

// Summary is what came of a run.
type Summary struct {
	Sample        // Type is "summary", PerSecond that of the whole run
	Memory Memory `json:"worker"`
	CPU    CPU    `json:"cpu_seconds_per_job"`
	Audit  Audit  `json:"audit"`
}

// CPU is the time of one core that each part took for a job, in seconds.
type CPU struct {
	Worker   float64 `json:"worker"`
	Emulator float64 `json:"emulator"`
	Rest     float64 `json:"broker_and_bench"`
}

// summarise sums up a run. Its first sample is from before it began; after so many jobs memory is first measured.
func summarise(samples []Sample, after int, total Progress, audit Audit) Summary {
	first, last := samples[0], samples[len(samples)-1]
	last.Type, last.Progress = "summary", total
	last.PerSecond = pace(first, last)
	perJob := func(first, last Usage) float64 {
		if took := last.CPU - first.CPU; audit.Accepted > 0 && took > 0 {
			return rounded(took/float64(audit.Accepted), 1e7)
		}
		return 0
	}
	return Summary{
		Sample: last, Memory: memory(samples[1:], after), Audit: audit,
		CPU: CPU{perJob(first.Worker, last.Worker), perJob(first.Emulator, last.Emulator), perJob(first.Rest, last.Rest)},
	}
}

// Memory is what the workers together used, early in the run, at its end, and at most. Early and Late are medians
// of half a minute. Early is nil if the run was too short for the two to be apart.
type Memory struct {
	After int    `json:"early_after_jobs"`
	Early *Usage `json:"early,omitempty"`
	Late  Usage  `json:"late"`
	Most  Usage  `json:"most"`
}

// settled is of how many samples, one a second, a figure of memory is the median: a
// single one may come right before or right after a garbage collection.
const settled = 30

// memory compares the workers after so many jobs with themselves at the end.
func memory(samples []Sample, after int) Memory {
	usages := make([]Usage, len(samples))
	begin := 0
	for i, s := range samples {
		usages[i] = s.Worker
		if s.Final < after {
			begin = i + 1
		}
	}
	m := Memory{After: after, Most: each(usages, slices.Max)}
	if begin+2*settled <= len(usages) {
		early := each(usages[begin:begin+settled], median)
		m.Early = &early
	}
	m.Late = each(usages[max(len(usages)-settled, 0):], median)
	return m
}

// Usage is what one process uses; 0 is unknown.
type Usage struct {
	Resident float64 `json:"resident_bytes"`
	CPU      float64 `json:"-"` // seconds since its start
	// Only workers tell the following. HeapInUse counts the spans that hold objects,
	// garbage included; HeapLive what the last garbage collection found to be alive.
	HeapInUse  float64 `json:"heap_in_use_bytes,omitempty"`
	HeapLive   float64 `json:"heap_live_bytes,omitempty"`
	Goroutines float64 `json:"goroutines,omitempty"`
	Files      float64 `json:"open_files,omitempty"`
}

// figures are those of a usage: the worker's metric, and how the summary shows it, if it does.
var figures = []struct {
	of     func(*Usage) *float64
	metric string
	name   string
	text   func(float64) string
}{
	{func(u *Usage) *float64 { return &u.Resident }, "process_resident_memory_bytes", "resident memory", megabytes},
	{func(u *Usage) *float64 { return &u.CPU }, "process_cpu_seconds_total", "", nil},
	{func(u *Usage) *float64 { return &u.HeapInUse }, "go_memstats_heap_inuse_bytes", "heap in use", megabytes},
	{func(u *Usage) *float64 { return &u.HeapLive }, "go_gc_heap_live_bytes", "heap alive after GC", megabytes},
	{func(u *Usage) *float64 { return &u.Goroutines }, "go_goroutines", "goroutines", whole},
	{func(u *Usage) *float64 { return &u.Files }, "process_open_fds", "open files", whole},
}

// each combines each figure of several usages into one.
func each(usages []Usage, f func([]float64) float64) (combined Usage) {
	if len(usages) == 0 {
		return Usage{}
	}
	for _, figure := range figures {
		values := make([]float64, len(usages))
		for i := range usages {
			values[i] = *figure.of(&usages[i])
		}
		*figure.of(&combined) = f(values)
	}
	return combined
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// parseMetrics reads a worker's usage from its /metrics.
func parseMetrics(r io.Reader) (u Usage, err error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	for _, figure := range figures {
		for _, m := range families[figure.metric].GetMetric() { // there is one, a gauge or a counter
			*figure.of(&u) = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return u, err
}

// processUsage is the usage of any process of this machine; without Linux's /proc it is zero.
func processUsage(pid int) Usage {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return Usage{}
	}
	stat, err := process.Stat()
	if err != nil {
		return Usage{}
	}
	return Usage{Resident: float64(stat.ResidentMemory()), CPU: stat.CPUTime()}
}
