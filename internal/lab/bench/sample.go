package bench

import (
	"math"
	"slices"
	"time"
)

// Sample is one look at a run.
type Sample struct {
	Type string `json:"type"` // "sample"
	// Seconds is the time since the run began.
	Seconds float64 `json:"seconds"`
	Progress
	// PerSecond is how many jobs became final a second since the sample before.
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

// settled is how many samples, one a second, a figure of memory is the median
// of: by chance a single one comes right before or right after a collection of
// garbage.
const settled = 30

// Trend compares the usage of the workers early in a run with that at its end.
// Its size does not depend on how long the run is.
type Trend struct {
	// After is how many jobs must be final before the first comparison.
	After int

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

// Early is the usage after the first jobs, Late that at the end, each the median
// of half a minute; Most is the greatest. ok is false where the run was too short
// for the two to be apart.
func (t *Trend) Early() (u Usage, ok bool) { return median(t.early), t.since >= settled }

// Late is described at [Trend.Early].
func (t *Trend) Late() Usage { return median(t.late) }

// Most is described at [Trend.Early].
func (t *Trend) Most() Usage { return t.most }

// median is the median of each figure by itself.
func median(samples []Usage) Usage {
	if len(samples) == 0 {
		return Usage{}
	}
	return each(samples, func(values []int64) int64 {
		slices.Sort(values)
		return values[len(values)/2]
	})
}

// Summary is what came of a run: its last look, and what lies behind it. Its CPU
// times are those of one core.
type Summary struct {
	Sample        // Type is "summary", PerSecond that of the whole run
	Memory Memory `json:"worker"`
	CPU    CPU    `json:"cpu_seconds_per_job"`
	Audit  Audit  `json:"audit"`
}

// Memory is what the workers together used, early in the run, at its end, and at
// most. Early is nil where the run ended before.
type Memory struct {
	After int    `json:"early_after_jobs"`
	Early *Usage `json:"early,omitempty"`
	Late  Usage  `json:"late"`
	Most  Usage  `json:"most"`
}

// CPU is the processor time that each part took for a job, in seconds.
type CPU struct {
	Worker   float64 `json:"worker"`
	Emulator float64 `json:"emulator"`
	Rest     float64 `json:"broker_and_bench"`
}

// summarise draws up what lies between the first and the last look at a run.
func summarise(first, last Sample, trend *Trend, audit Audit) Summary {
	last.Type = "summary"
	s := Summary{Sample: last, Audit: audit, Memory: Memory{After: trend.After, Late: trend.Late(), Most: trend.Most()}}
	if early, ok := trend.Early(); ok {
		s.Memory.Early = &early
	}
	perJob := func(first, last Usage) float64 {
		if total := (last.CPU - first.CPU); audit.Accepted > 0 && total > 0 {
			return rounded(total.Seconds()/float64(audit.Accepted), 1e7)
		}
		return 0
	}
	s.CPU = CPU{perJob(first.Worker, last.Worker), perJob(first.Emulator, last.Emulator), perJob(first.Rest, last.Rest)}
	return s
}
