package benchcmd

import (
	"fmt"
	"io"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
)

// summary tells what came of the run, on standard output.
func (s *benchScreen) summary(r bench.Summary) error {
	if s.json != nil {
		if err := s.json.Encode(r); err != nil {
			return err
		}
	}
	w := s.out
	if s.json != nil {
		w = s.w // prose
	}
	seconds := func(f float64) string { return brief(time.Duration(f * float64(time.Second))) }
	show.Say(w, "\n%s in %s: %s", jobsText(r.Final), show.Roughly(time.Duration(r.Seconds*float64(time.Second))),
		s.paint(show.Bold, perSecond(r.PerSecond)+" a second"))
	show.Say(w, "  %s\n", s.statuses(r.Statuses))
	l := r.Latency
	show.Say(w, "From publish to result: p50 %s, p95 %s, p99 %s, the longest %s.", seconds(l.P50), seconds(l.P95), seconds(l.P99), seconds(l.Max))
	show.Say(w, "CPU a job: worker %s, emulator %s, broker and bench %s.\n", perJob(r.CPU.Worker), perJob(r.CPU.Emulator), perJob(r.CPU.Rest))
	s.memory(w, r.Memory)
	show.Say(w, "\nAt the end the emulator has %s, the broker and the bench %s.", megabytes(r.Emulator.Resident), megabytes(r.Rest.Resident))
	s.verdict(w, r)
	return nil
}

// memory shows what the workers used early in the run and at its end, as far as
// the run was long enough to tell the two apart.
func (s *benchScreen) memory(w io.Writer, m bench.Memory) {
	const layout = "%-20s %14s %12s %9s %12s"
	after := ""
	if m.Early != nil {
		after = "AFTER " + thousands(m.After)
	}
	show.Say(w, "%s", s.paint(show.Bold, fmt.Sprintf(layout, "WORKER", after, "AT THE END", "", "AT MOST")))
	for _, row := range []struct {
		name string
		of   func(bench.Usage) int64
		show func(int64) string
	}{
		{"resident memory", func(u bench.Usage) int64 { return u.Resident }, megabytes},
		{"heap in use", func(u bench.Usage) int64 { return u.HeapInUse }, megabytes},
		{"heap alive after GC", func(u bench.Usage) int64 { return u.HeapLive }, megabytes},
		{"goroutines", func(u bench.Usage) int64 { return u.Goroutines }, plain},
		{"open files", func(u bench.Usage) int64 { return u.Files }, plain},
	} {
		early, change := "", ""
		if m.Early != nil {
			was := row.of(*m.Early)
			early = row.show(was)
			if was > 0 {
				change = fmt.Sprintf("%+.1f %%", 100*(float64(row.of(m.Late))/float64(was)-1))
			}
		}
		show.Say(w, layout, row.name, early, row.show(row.of(m.Late)), change, row.show(row.of(m.Most)))
	}
	if m.Early == nil {
		show.Say(w, "%s", s.paint(show.Dim, "The run was too short to tell whether memory grows: that takes over a minute."))
	}
}

// perSecond writes a rate, a low one with its fraction.
func perSecond(rate float64) string {
	if rate < 10 {
		return fmt.Sprintf("%.1f", rate)
	}
	return thousands(int(rate + .5))
}

func plain(n int64) string { return fmt.Sprint(n) }

func perJob(seconds float64) string { return fmt.Sprintf("%.2f ms", seconds*1000) }

// verdict says what the emulator's list has shown.
func (s *benchScreen) verdict(w io.Writer, r bench.Summary) {
	a := r.Audit
	if a.Clean() {
		show.Say(w, "The emulator accepted %s of %s jobs: %s", thousands(a.Accepted), thousands(r.Published),
			s.paint(show.Green, "none lost, none sent twice."))
		return
	}
	for _, finding := range []struct {
		n    int
		text string
	}{
		{a.Lost, "jobs were published and have no final result"},
		{a.Doubled, "messages were one too many for their request"},
		{a.NotAccepted, "requests count as sent, and the emulator knows no message"},
		{a.Denied, "requests ended otherwise than as sent, and the emulator accepted a message"},
		{a.Strange, "messages belong to no job of this run"},
	} {
		if finding.n > 0 {
			show.Say(w, "%s", s.paint(show.Red, thousands(finding.n)+" "+finding.text))
		}
	}
}
