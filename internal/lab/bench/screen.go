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

const lineEvery = 5 * time.Second // without a terminal

// screen shows a run on standard error: on a terminal as a line that is refreshed each
// second, otherwise as one every few seconds. The summary goes to standard output.
type screen struct {
	*show.Screen
	b      *Cmd
	calls  int // that each worker makes at a time
	out    io.Writer
	json   *json.Encoder // nil without --json
	live   bool
	over   string // moves the cursor to the line that is refreshed
	nextAt time.Duration
}

func newScreen(e *command.Env, b *Cmd, calls int) *screen {
	s := &screen{Screen: show.NewScreen(e.Stderr), b: b, calls: calls, out: e.Stdout}
	s.live = s.Terminal && (!b.JSON || !show.IsTerminal(e.Stdout)) // which then has its own lines
	if b.JSON {
		s.json, s.out = show.JSONLines(e.Stdout), e.Stderr
	}
	return s
}

func (s *screen) begin(warmUp int) {
	where := "broker, emulated Aliyun and workers on this machine"
	if s.b.Against != "" {
		where = "the broker is elsewhere, so its CPU stays unknown"
	}
	s.Line("%s %s", s.Paint(show.Bold, "passcode-worker bench"), s.dim("· "+where))
	s.Line("%s\n%s", s.dim(s.setup()), s.dim(s.asked()))
	s.Line("%s\n", s.dim(count(warmUp, "job")+" before that warm it up and don't count"))
}

func (s *screen) dim(text string) string { return s.Paint(show.Dim, text) }

// setup is what the jobs are given to.
func (s *screen) setup() string {
	return fmt.Sprintf("%s, %d calls at a time, each answered after %s", count(s.b.Workers, "worker"), s.calls, s.b.Latency)
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
	if s.b.Rate == 0 {
		return what + ", as fast as they are done"
	}
	return what + ", " + aSecond(float64(s.b.Rate)) + " a second"
}

// sample shows how the run stands.
func (s *screen) sample(now Sample) {
	if s.json != nil {
		_ = s.json.Encode(now) // a reader that has gone shows at the summary
	}
	share := float64(now.Final) / float64(s.b.jobs())
	if s.b.For > 0 {
		share = max(share, now.Seconds/s.b.For.Seconds())
	}
	line := fmt.Sprintf("%3.0f %% %4s  %s done  %s/s  %s  %s in progress  worker %s, heap %s, %.0f goroutines, %.0f files",
		100*min(share, 1), show.Span(now.Elapsed()), thousands(now.Final), aSecond(now.PerSecond), now.Result,
		thousands(now.Published-now.Final), megabytes(now.Worker.Resident), megabytes(now.Worker.HeapInUse),
		now.Worker.Goroutines, now.Worker.Files)
	switch {
	case s.live: // the terminal cuts off what has no room
		s.Line("%s\x1b[?7l%s\x1b[K\x1b[?7h", s.over, line)
		s.over = "\x1b[A"
	case now.Elapsed() >= s.nextAt:
		s.nextAt = now.Elapsed() + lineEvery
		s.Line("%s", line)
	}
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
	show.Say(s.out, "\n%s in %s: %s", count(r.Final, "job"), show.Roughly(r.Elapsed()), s.Paint(show.Bold, aSecond(r.PerSecond)+" a second"))
	show.Say(s.out, "  %s\n", s.statuses(r.Statuses))
	show.Say(s.out, "From publish to receipt: %s, the longest %s.", r.Receipt, r.Receipt.Max)
	show.Say(s.out, "From publish to result: %s, the longest %s.", r.Result, r.Result.Max)
	show.Say(s.out, "CPU a job: worker %s, broker %s, emulator %s, bench %s.\n", microseconds(r.CPU["worker"]),
		microseconds(r.CPU["broker"]), microseconds(r.CPU["emulator"]), microseconds(r.CPU["bench"]))
	if err := s.memory(r.Memory); err != nil {
		return err
	}
	show.Say(s.out, "\nMemory at the end: broker %s, emulator %s, bench %s.",
		megabytes(r.Broker.Resident), megabytes(r.Emulator.Resident), megabytes(r.Bench.Resident))
	s.conclusion(r)
	return nil
}

// memory shows what the workers used at the end, and early in the run if it was long enough.
func (s *screen) memory(m Memory) error {
	table := show.NewListing(s.out, false, "WORKER", "AFTER "+thousands(m.After), "AT THE END", "AT MOST")
	for _, row := range figures {
		if row.name == "" {
			continue
		}
		late := *row.of(&m.Late)
		early, end := "–", row.text(late)
		if m.Early != nil && *row.of(m.Early) > 0 {
			was := *row.of(m.Early)
			early, end = row.text(was), fmt.Sprintf("%s (%+.1f %%)", end, 100*(late/was-1))
		}
		table.Row(row.name, early, end, row.text(*row.of(&m.Most)))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if m.Early == nil {
		show.Say(s.out, "%s", s.dim("The run was too short to tell whether memory grows: that takes over a minute."))
	}
	return nil
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

func aSecond(n float64) string {
	if n < 10 {
		return fmt.Sprintf("%.2g", n)
	}
	return thousands(int(n + .5))
}

func megabytes(n float64) string { return known(n/1e6, "%.1f MB") }

func microseconds(seconds float64) string { return known(1e6*seconds, "%.0f µs") }

func whole(n float64) string { return fmt.Sprintf("%.0f", n) }

// known writes a figure, of which 0 is unknown.
func known(n float64, format string) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf(format, n)
}
