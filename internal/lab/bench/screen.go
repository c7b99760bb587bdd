package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	lineEvery = 5 * time.Second // without a terminal
	barWidth  = 30
)

// screen shows a run on standard error: on a terminal as a picture that is redrawn each
// second, otherwise as a line every few seconds. The summary goes to standard output.
type screen struct {
	*show.Screen
	b      *Cmd
	calls  int // that each worker makes at a time
	out    io.Writer
	json   *json.Encoder // nil without --json
	live   bool
	drawn  int // lines of the picture that stand on the terminal
	nextAt time.Duration
}

func newScreen(e *command.Env, b *Cmd, calls int) *screen {
	s := &screen{Screen: show.NewScreen(e.Stderr), b: b, calls: calls, out: e.Stdout}
	s.live = s.Terminal
	if b.JSON {
		s.json, s.out = show.JSONLines(e.Stdout), e.Stderr
		s.live = s.live && !show.IsTerminal(e.Stdout) // the lines would tear the picture
	}
	return s
}

func (s *screen) begin(warmUp int) {
	s.Line("%s %s", s.Paint(show.Bold, "passcode-worker bench"), s.dim("· broker, emulated Aliyun and workers on this machine"))
	s.Line("%s", s.dim(fmt.Sprintf("%s, %d calls at a time, each answered after %s",
		count(s.b.Workers, "worker"), s.calls, s.b.Latency)))
	s.Line("%s", s.dim(s.asked()))
	s.Line("%s\n", s.dim(count(warmUp, "job")+" before that warm it up and don't count"))
}

func (s *screen) dim(text string) string { return s.Paint(show.Dim, text) }

func (s *screen) draining() {
	s.Line("\nstopping: waiting at most %s for the jobs in progress; Ctrl-C leaves at once", drainWithin)
	s.drawn = 0
}

// asked is what the run is to do.
func (s *screen) asked() string {
	what := count(s.b.jobs(), "job")
	switch {
	case s.b.For > 0 && s.b.Jobs > 0:
		what += " or " + show.Roughly(s.b.For)
	case s.b.For > 0:
		what = show.Roughly(s.b.For) + " of jobs"
	}
	switch rate := float64(s.b.Rate); {
	case rate >= 1:
		return what + ", " + thousands(int(rate+.5)) + " a second"
	case rate > 0:
		return fmt.Sprintf("%s, %.3g an hour", what, rate*time.Hour.Seconds())
	default:
		return what + ", as fast as they are done"
	}
}

// sample shows how the run stands.
func (s *screen) sample(now, before Sample) {
	if s.json != nil {
		_ = s.json.Encode(now) // a reader that has gone shows at the summary
	}
	switch {
	case s.live:
		s.draw(s.picture(now, before))
	case now.Elapsed() >= s.nextAt:
		s.nextAt = now.Elapsed() + lineEvery
		s.Line("%7.0fs  %s done  %s/s  p50 %s  p95 %s  p99 %s  worker %s, heap %s, %d goroutines, %d files",
			now.Seconds, thousands(now.Final), thousands(int(now.PerSecond+.5)),
			brief(now.Latency.P50), brief(now.Latency.P95), brief(now.Latency.P99),
			megabytes(now.Worker.Resident), megabytes(now.Worker.HeapInUse), now.Worker.Goroutines, now.Worker.Files)
	}
}

// draw puts a picture where the one before stands.
func (s *screen) draw(lines []string) {
	if s.drawn > 0 {
		lines[0] = fmt.Sprintf("\x1b[%dA", s.drawn) + lines[0]
	}
	s.drawn = len(lines)
	for _, line := range lines {
		s.Line("\r%s\x1b[K", line)
	}
}

func (s *screen) picture(now, before Sample) []string {
	w := now.Worker
	busy := func(of func(Sample) Usage) string { return cores(of(now), of(before), now.Seconds-before.Seconds) }
	return []string{
		fmt.Sprintf("  %s  %s done  %s  %s", s.bar(now), thousands(now.Final),
			s.Paint(show.Bold, thousands(int(now.PerSecond+.5))+"/s"), s.dim(show.Roughly(now.Elapsed()))),
		s.dim("  results   ") + s.statuses(now.Statuses) + s.dim(fmt.Sprintf(" · %s in progress", thousands(now.Published-now.Final))),
		s.dim("  latency   ") + fmt.Sprintf("p50 %s · p95 %s · p99 %s", brief(now.Latency.P50), brief(now.Latency.P95), brief(now.Latency.P99)),
		s.dim("  worker    ") + fmt.Sprintf("%s, heap %s · %d goroutines · %d files · CPU %s", megabytes(w.Resident),
			megabytes(w.HeapInUse), w.Goroutines, w.Files, busy(func(s Sample) Usage { return s.Worker })),
		s.dim("  emulator  ") + fmt.Sprintf("%s · CPU %s", megabytes(now.Emulator.Resident), busy(func(s Sample) Usage { return s.Emulator })),
		s.dim("  broker    ") + fmt.Sprintf("%s · CPU %s, the bench itself included", megabytes(now.Rest.Resident),
			busy(func(s Sample) Usage { return s.Rest })),
	}
}

// bar shows how far the run is, by jobs or by time.
func (s *screen) bar(now Sample) string {
	share := float64(now.Final) / float64(s.b.jobs())
	if s.b.For > 0 {
		share = max(share, now.Seconds/s.b.For.Seconds())
	}
	return show.Bar(share, barWidth)
}

// statuses lists how many requests ended how, most first.
func (s *screen) statuses(counts map[passcode.Status]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b passcode.Status) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(string(a), string(b)))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = s.Paint(show.StatusColour(name), fmt.Sprintf("%s %s", name, thousands(counts[name])))
	}
	return cmp.Or(strings.Join(parts, ", "), "none yet")
}

// summary tells what came of the run.
func (s *screen) summary(r Summary) error {
	if s.json != nil {
		if err := s.json.Encode(r); err != nil {
			return err
		}
	}
	l, c := r.Latency, r.CPU
	rate := thousands(int(r.PerSecond + .5))
	if r.PerSecond < 10 {
		rate = fmt.Sprintf("%.1f", r.PerSecond)
	}
	show.Say(s.out, "\n%s in %s: %s", count(r.Final, "job"), show.Roughly(r.Elapsed()), s.Paint(show.Bold, rate+" a second"))
	show.Say(s.out, "  %s\n", s.statuses(r.Statuses))
	show.Say(s.out, "From publish to result: p50 %s, p95 %s, p99 %s, the longest %s.", brief(l.P50), brief(l.P95), brief(l.P99), brief(l.Max))
	show.Say(s.out, "CPU a job: worker %.2f ms, emulator %.2f ms, broker and bench %.2f ms.\n", 1000*c.Worker, 1000*c.Emulator, 1000*c.Rest)
	s.memory(r.Memory)
	show.Say(s.out, "\nAt the end the emulator has %s, the broker and the bench %s.", megabytes(r.Emulator.Resident), megabytes(r.Rest.Resident))
	s.conclusion(r)
	return nil
}

// memory shows what the workers used at the end, and early in the run if it was long
// enough.
func (s *screen) memory(m Memory) {
	const layout = "%-20s %14s %12s %9s %12s"
	after, was := "", Usage{}
	if m.Early != nil {
		after, was = "AFTER "+thousands(m.After), *m.Early
	}
	show.Say(s.out, "%s", s.Paint(show.Bold, fmt.Sprintf(layout, "WORKER", after, "AT THE END", "", "AT MOST")))
	plain := func(n int64) string { return fmt.Sprint(n) }
	row := func(name string, text func(int64) string, was, late, most int64) {
		early, change := "", ""
		if was > 0 {
			early = text(was)
			change = fmt.Sprintf("%+.1f %%", 100*(float64(late)/float64(was)-1))
		}
		show.Say(s.out, layout, name, early, text(late), change, text(most))
	}
	row("resident memory", megabytes, was.Resident, m.Late.Resident, m.Most.Resident)
	row("heap in use", megabytes, was.HeapInUse, m.Late.HeapInUse, m.Most.HeapInUse)
	row("heap alive after GC", megabytes, was.HeapLive, m.Late.HeapLive, m.Most.HeapLive)
	row("goroutines", plain, was.Goroutines, m.Late.Goroutines, m.Most.Goroutines)
	row("open files", plain, was.Files, m.Late.Files, m.Most.Files)
	if m.Early == nil {
		show.Say(s.out, "%s", s.dim("The run was too short to tell whether memory grows: that takes over a minute."))
	}
}

// conclusion says what the emulator's list has shown.
func (s *screen) conclusion(r Summary) {
	a := r.Audit
	if a.Clean() {
		show.Say(s.out, "The emulator accepted %s of %s jobs: %s", thousands(a.Accepted), thousands(r.Published),
			s.Paint(show.Green, "none lost, none sent twice."))
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
			show.Say(s.out, "%s", s.Paint(show.Red, thousands(finding.n)+" "+finding.text))
		}
	}
}

// cores is how many cores a process kept busy, in so many seconds.
func cores(now, before Usage, took float64) string {
	if took <= 0 || before.CPU == 0 || now.CPU < before.CPU {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*(now.CPU-before.CPU).Seconds()/took)
}

// count is a number of things, with commas.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return thousands(n) + " " + thing
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// brief writes a latency with three digits.
func brief(d time.Duration) string {
	switch {
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Millisecond).String()
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
