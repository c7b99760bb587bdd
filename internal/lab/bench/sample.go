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
