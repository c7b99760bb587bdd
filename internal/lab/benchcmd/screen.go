package benchcmd

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
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// benchLines is how often a run is told of where there is no terminal.
const benchLines = 5 * time.Second

// benchScreen shows a run on standard error: as a picture that is drawn anew
// each second where it is a terminal, otherwise as a line every few seconds. The
// summary goes to standard output.
type benchScreen struct {
	w      io.Writer
	out    io.Writer
	json   *json.Encoder // nil without --json
	paint  func(colour, text string) string
	live   bool
	title  string
	b      *Cmd
	drawn  int // lines of the picture that stand on the terminal
	nextAt time.Duration
}

func newBenchScreen(e *command.Env, b *Cmd, s *benchSystem) *benchScreen {
	colours := show.NewScreen(e.Stderr)
	screen := &benchScreen{w: e.Stderr, out: e.Stdout, paint: colours.Paint, live: colours.Terminal, b: b}
	if b.JSON {
		screen.json = show.JSONLines(e.Stdout)
	}
	workers := "1 worker"
	if b.Workers > 1 {
		workers = fmt.Sprintf("%d workers", b.Workers)
	}
	screen.title = fmt.Sprintf("%s, %d calls at a time, each answered after %s", workers, s.cfg.Worker.Concurrency, b.Latency)
	if b.JSON && show.IsTerminal(e.Stdout) { // the lines would tear the picture
		screen.live = false
	}
	return screen
}

func (s *benchScreen) begin(warmUp int) {
	show.Say(s.w, "%s %s", s.paint(show.Bold, "passcode-worker bench"), s.paint(show.Dim, "· broker, emulated Aliyun and workers on this machine"))
	show.Say(s.w, "%s", s.paint(show.Dim, s.title))
	show.Say(s.w, "%s", s.paint(show.Dim, s.asked()))
	show.Say(s.w, "%s\n", s.paint(show.Dim, jobsText(warmUp)+" before that warm it up and don't count"))
}

// draining tells somebody who has asked for the end what it waits for.
func (s *benchScreen) draining() {
	show.Say(s.w, "\nstopping: waiting at most %s for the jobs under way; Ctrl-C leaves at once", benchDrain)
	s.drawn = 0
}

// asked is what the run is to do.
func (s *benchScreen) asked() string {
	pace := "as fast as they are done"
	switch rate := float64(s.b.Rate); {
	case rate >= 1:
		pace = thousands(int(rate+.5)) + " a second"
	case rate > 0:
		pace = fmt.Sprintf("%.3g an hour", rate*time.Hour.Seconds())
	}
	switch {
	case s.b.For > 0 && s.b.Jobs > 0:
		return fmt.Sprintf("%s or %s, %s", jobsText(s.b.Jobs), show.Roughly(s.b.For), pace)
	case s.b.For > 0:
		return fmt.Sprintf("%s of jobs, %s", show.Roughly(s.b.For), pace)
	default:
		return fmt.Sprintf("%s, %s", jobsText(s.b.jobs()), pace)
	}
}

// sample shows how the run stands.
func (s *benchScreen) sample(now, before bench.Sample) {
	if s.json != nil {
		_ = s.json.Encode(now.Line()) // a reader that has gone shows at the summary
	}
	switch {
	case s.live:
		s.draw(s.picture(now, before))
	case now.Elapsed >= s.nextAt:
		s.nextAt = now.Elapsed + benchLines
		show.Say(s.w, "%s", s.line(now))
	}
}

func (s *benchScreen) line(now bench.Sample) string {
	l, w := now.Latency, now.Worker
	return fmt.Sprintf("%7.0fs  %s done  %s/s  p50 %s  p95 %s  p99 %s  worker %s, heap %s, %d goroutines, %d files",
		now.Elapsed.Seconds(), thousands(now.Final), thousands(int(now.Rate+.5)), brief(l.P50), brief(l.P95), brief(l.P99),
		megabytes(w.Resident), megabytes(w.HeapInUse), w.Goroutines, w.Files)
}

// draw puts a picture where the one before stands.
func (s *benchScreen) draw(lines []string) {
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for _, line := range lines {
		b.WriteString("\r" + line + "\x1b[K\n")
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.w, b.String())
}

// benchBar is how wide the bar of the picture is.
const benchBar = 30

func (s *benchScreen) picture(now, before bench.Sample) []string {
	took := now.Elapsed - before.Elapsed
	l, w := now.Latency, now.Worker
	return []string{
		fmt.Sprintf("  %s  %s done  %s  %s", s.bar(now), thousands(now.Final), s.paint(show.Bold, thousands(int(now.Rate+.5))+"/s"), s.paint(show.Dim, show.Roughly(now.Elapsed))),
		"  " + s.paint(show.Dim, "results   ") + s.statuses(now.Statuses) + s.paint(show.Dim, fmt.Sprintf(" · %s under way", thousands(now.Published-now.Final))),
		"  " + s.paint(show.Dim, "latency   ") + fmt.Sprintf("p50 %s · p95 %s · p99 %s", brief(l.P50), brief(l.P95), brief(l.P99)),
		"  " + s.paint(show.Dim, "worker    ") + fmt.Sprintf("%s, heap %s · %d goroutines · %d files · CPU %s",
			megabytes(w.Resident), megabytes(w.HeapInUse), w.Goroutines, w.Files, cores(w, before.Worker, took)),
		"  " + s.paint(show.Dim, "emulator  ") + fmt.Sprintf("%s · CPU %s", megabytes(now.Emulator.Resident), cores(now.Emulator, before.Emulator, took)),
		"  " + s.paint(show.Dim, "broker    ") + fmt.Sprintf("%s · CPU %s, the bench itself included", megabytes(now.Rest.Resident), cores(now.Rest, before.Rest, took)),
	}
}

// bar shows how far the run is, by jobs or by time.
func (s *benchScreen) bar(now bench.Sample) string {
	share := float64(now.Final) / float64(s.b.jobs())
	if s.b.For > 0 {
		share = max(share, now.Elapsed.Seconds()/s.b.For.Seconds())
	}
	full := min(int(share*benchBar), benchBar)
	return strings.Repeat("█", full) + strings.Repeat("░", benchBar-full)
}

// statuses lists how many requests ended how, most first.
func (s *benchScreen) statuses(counts map[passcode.Status]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b passcode.Status) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(string(a), string(b)))
	})
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = s.paint(show.StatusColour(name), fmt.Sprintf("%s %s", name, thousands(counts[name])))
	}
	if len(parts) == 0 {
		return "none yet"
	}
	return strings.Join(parts, ", ")
}

// cores is how many cores a process kept busy.
func cores(now, before bench.Usage, took time.Duration) string {
	if took <= 0 || before.CPU == 0 || now.CPU < before.CPU {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*(now.CPU-before.CPU).Seconds()/took.Seconds())
}

func jobsText(n int) string {
	if n == 1 {
		return "1 job"
	}
	return thousands(n) + " jobs"
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
