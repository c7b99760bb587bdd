package harness

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bound is far more than any process of these tests takes.
const bound = 30 * time.Second

func start(t testing.TB, role string, env ...string) *Process {
	t.Helper()
	all := map[string]string{helperVar: role}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		all[name] = value
	}
	bin, err := os.Executable()
	require.NoError(t, err)
	return StartWorker(t, bin, all)
}

func TestProcessTellsWhatWasPrintedAndHowItEnded(t *testing.T) {
	t.Parallel()
	p := start(t, "streams")
	assert.Equal(t, 3, p.Wait(bound))
	assert.Equal(t, "to standard output\nwithout a line break\n", p.Stdout())
	assert.Equal(t, "to standard error\n", p.Stderr())
	for _, line := range []string{"to standard output", "without a line break", "to standard error"} {
		assert.Contains(t, p.Output(), line+"\n")
		assert.Equal(t, line, p.WaitFor(line, bound), "a line is found after the end too")
	}
	assert.Equal(t, 3, p.Wait(bound), "waiting again gives the same")
}

func TestProcessHasAnEnvironmentOfItsOwn(t *testing.T) {
	t.Setenv("PASSCODE_NATS__URL", "nats://of.the.developer")

	p := start(t, "environment", "PASSCODE_LOG__LEVEL=debug")
	require.Equal(t, 0, p.Wait(bound))
	assert.Contains(t, p.Stdout(), "PASSCODE_LOG__LEVEL=debug\n")
	assert.NotContains(t, p.Stdout(), "of.the.developer")
	assert.NotContains(t, p.Stdout(), "\nPATH=")
	assert.Contains(t, p.Stdout(), "HOME="+p.cmd.Dir+"\n")
	assert.Contains(t, p.Stdout(), "in "+p.cmd.Dir)
}

func TestProcessTakesSignals(t *testing.T) {
	t.Parallel()
	p := start(t, "interrupt")
	p.WaitFor("ready", bound)
	p.Signal(os.Interrupt)
	assert.Equal(t, 0, p.Wait(bound))
	assert.Contains(t, p.Output(), "stopped in order")
}

func TestKillIsACrash(t *testing.T) {
	t.Parallel()
	p := start(t, "interrupt")
	p.WaitFor("ready", bound)
	p.Kill()
	select {
	case <-p.Done():
	default:
		t.Fatal("Kill came back while the process was there")
	}
	assert.Equal(t, -1, p.Wait(bound))
	assert.NotContains(t, p.Output(), "stopped in order")
	p.Kill()
}

func TestProcessIsGoneWhenItsTestIsOver(t *testing.T) {
	t.Parallel()
	var p *Process
	failures := failuresOf(t, func(t testing.TB) {
		p = start(t, "hang")
		p.WaitFor("ready", bound)
	})
	assert.Empty(t, failures, "a process that still runs is no failure")
	require.ErrorIs(t, syscall.Kill(p.PID(), 0), syscall.ESRCH)
}

func TestWhatFailsATest(t *testing.T) {
	t.Parallel()
	rows := []struct {
		sentence string
		test     func(t testing.TB)
		says     []string
	}{
		{"a process that does not end in time shows its stacks", func(t testing.TB) {
			p := start(t, "hang")
			p.WaitFor("ready", bound)
			p.Wait(time.Millisecond)
		}, []string{"still runs after 1ms", "SIGQUIT", "goroutine 1"}},
		{"a line that does not come in time", func(t testing.TB) {
			start(t, "hang").WaitFor("never printed", 10*time.Millisecond)
		}, []string{`no line with "never printed" within 10ms`}},
		{"a process that ends without the line", func(t testing.TB) {
			start(t, "streams").WaitFor("never printed", bound)
		}, []string{`ended without a line with "never printed"`, "to standard error"}},
		{"a signal to a process that is gone", func(t testing.TB) {
			p := start(t, "streams")
			p.Wait(bound)
			p.Signal(os.Interrupt)
		}, []string{"send interrupt"}},
		{"a program that is not there", func(t testing.TB) {
			StartWorker(t, "/nonexistent/worker", nil)
		}, []string{"start /nonexistent/worker"}},
		{"a whole phone number in the output", func(t testing.TB) {
			start(t, "talk", "SAY_FIRST=to +86138", "SAY_THEN=12345678").Wait(bound)
		}, []string{"a whole phone number: to ****"}},
		{"a forbidden passcode in the output", func(t testing.TB) {
			p := start(t, "talk", "SAY_FIRST=code=58", "SAY_THEN=3914")
			p.Forbid("58" + "3914")
			p.Wait(bound)
		}, []string{"a passcode: code=****"}},
		{"the report of a data race", func(t testing.TB) {
			start(t, "talk", "SAY_FIRST=WARNING: DATA", "SAY_THEN= RACE").Wait(bound)
		}, []string{"reported a data race"}},
		{"an emulator that listens beyond the loopback interface", func(t testing.TB) {
			bin, err := os.Executable()
			require.NoError(t, err)
			StartEmulator(t, bin, "--listen-elsewhere")
		}, []string{"no http address of the loopback interface"}},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			failures := failuresOf(t, row.test)
			for _, text := range row.says {
				assert.Contains(t, failures, text)
			}
		})
	}
}

func TestEmulatorIsAskedOverHTTP(t *testing.T) {
	t.Parallel()
	bin, err := os.Executable()
	require.NoError(t, err)
	e := StartEmulator(t, bin)
	sent := e.Sent()
	require.Len(t, sent, 2)
	assert.Equal(t, Sent{Phone: "1", OutID: "a", BizID: "b", Code: "c", At: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}, sent[0])

	e.Reset()
	e.WaitFor("was reset", bound)

	env := e.WorkerEnv("nats://127.0.0.1:1")
	assert.Equal(t, e.URL, "http://"+env["PASSCODE_ALIYUN__ENDPOINT"])
	assert.Equal(t, "nats://127.0.0.1:1", env["PASSCODE_NATS__URL"])

	failures := failuresOf(t, func(t testing.TB) {
		AdminAt(t, e.URL).SetFaults("nonsense")
	})
	assert.Contains(t, failures, "no such fault", "what the emulator refuses fails the test")
}
