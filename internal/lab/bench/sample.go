package bench

import (
	"io"
	"maps"
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
	// Worker is what the workers use together. Nothing is known of a broker that runs elsewhere.
	Worker   Usage `json:"worker"`
	Broker   Usage `json:"broker,omitzero"`
	Emulator Usage `json:"emulator"`
	Bench    Usage `json:"bench"`
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
	Sample                    // Type is "summary", PerSecond that of the whole run
	Memory Memory             `json:"worker"`
	CPU    map[string]float64 `json:"cpu_seconds_per_job"` // of one core, by the part that took it, as far as it is known
	Audit  Audit              `json:"audit"`
}

// summarise sums up a run. Its first sample is from before it began; after so many jobs memory is first measured.
func summarise(samples []Sample, after int, total Progress, audit Audit) Summary {
	first, last := samples[0], samples[len(samples)-1]
	last.Type, last.Progress = "summary", total
	last.PerSecond = pace(first, last)
	cpu := map[string]float64{
		"worker": last.Worker.CPU - first.Worker.CPU, "broker": last.Broker.CPU - first.Broker.CPU,
		"emulator": last.Emulator.CPU - first.Emulator.CPU, "bench": last.Bench.CPU - first.Bench.CPU,
	}
	maps.DeleteFunc(cpu, func(_ string, took float64) bool { return took <= 0 || audit.Accepted == 0 })
	for name, took := range cpu {
		cpu[name] = rounded(took/float64(audit.Accepted), 1e7)
	}
	return Summary{Sample: last, Memory: memory(samples[1:], after), CPU: cpu, Audit: audit}
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

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// add adds what a worker's /metrics tell.
func (u *Usage) add(r io.Reader) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	for _, figure := range figures {
		for _, m := range families[figure.metric].GetMetric() { // there is one, a gauge or a counter
			*figure.of(u) += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return err
}

// processUsage is the usage of any process of this machine; without Linux's /proc it is zero.
func processUsage(pid int) (u Usage) {
	if process, err := procfs.NewProc(pid); err == nil {
		if stat, err := process.Stat(); err == nil {
			u.Resident, u.CPU = float64(stat.ResidentMemory()), stat.CPUTime()
		}
	}
	return u
}
