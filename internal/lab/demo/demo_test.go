package demo

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestLeaksIn: a search that finds by chance what nobody leaked fails a sound demo,
// and one that finds nothing passes a leaking one.
func TestLeaksIn(t *testing.T) {
	t.Parallel()
	const national = "138" + "00138001"
	for _, leak := range []string{
		demoCode, "+86" + national, "86" + national, "0086" + national, national, "139" + "00000000",
		"%2B86" + national, `\u002b86` + national, `\n` + national,
	} {
		for _, line := range []string{`{"msg":"` + leak + `"}`, "to " + leak, leak + " sent", "phone=" + leak + "\nnext"} {
			assert.Equal(t, 1, leaksIn([]byte(line)), strings.ReplaceAll(line, national, "****"))
		}
	}
	assert.NotEmpty(t, strings.Trim(demoCode, "0123456789abcdefABCDEF"), "no time, receipt or id in hex can hold it")
	for _, line := range []string{
		"", `{"phone":"+86138****8001","biz_id":"179543513800138001^0"}`, "138001380012", "860138" + "00138001",
		`{"provider_request_id":"B39CB1F7-6C2E-4F0A-9D1E-138` + `00138001A"}`, `9D1E-A138` + `00138001"`,
	} {
		assert.Zero(t, leaksIn([]byte(line)), line)
	}
}

// TestScreenWithoutTerminal: plain lines, no escape codes.
func TestScreenWithoutTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newScreen(&out)
	s.begin(scene{path: "retried", story: "twice"})
	now := time.Now()
	s.state(passcode.Result{
		Error: &passcode.Error{Code: "Throttling.User"}, UpdatedAt: now, NextAttemptAt: now.Add(300 * time.Millisecond),
	}.In(passcode.StatusRetrying))
	s.state(passcode.Result{Attempts: 2}.In(passcode.StatusSending))
	s.state(passcode.Result{Attempts: 2, Recovered: true}.In(passcode.StatusSent))
	for i := range 4 {
		s.progress(i+1, 4)
	}
	s.end()
	s.table([]row{{"retried", passcode.Result{RequestID: strings.Repeat("r", 30), Attempts: 2}.In(passcode.StatusSent), "well"}})
	text := out.String()
	assert.NotContains(t, text, "\x1b")
	for _, want := range []string{
		"retrying (Throttling.User, again in 300ms)", "sending (attempt 2)", "sent (recovered by look-up)", "4 of 4 sent", "PATH", "well",
	} {
		assert.Contains(t, text, want)
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9]+m")

// TestScreenOnATerminal: the states of a request stand on one line, as far as
// they fit.
func TestScreenOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &screen{Screen: &show.Screen{W: &out, Terminal: true}}
	s.begin(scene{path: "sent", story: "one"})
	s.state(passcode.Result{}.In(passcode.StatusSending))
	s.note("killed")
	s.state(passcode.Result{BizID: "B^0"}.In(passcode.StatusSent))
	s.end()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[1], "→")
	assert.Contains(t, lines[1], "\x1b[32msent")

	out.Reset()
	s.begin(scene{path: "long", story: "many states"})
	for range 9 {
		s.state(passcode.Result{Error: &passcode.Error{Code: "Throttling.User"}}.In(passcode.StatusRetrying))
	}
	s.state(passcode.Result{Error: &passcode.Error{Code: "x", Message: strings.Repeat("word ", 40)}}.In(passcode.StatusRejected))
	for line := range strings.Lines(colours.ReplaceAllString(out.String(), "")) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), show.Width, line)
	}
}
