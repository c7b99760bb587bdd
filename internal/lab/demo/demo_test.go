package demo

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

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

// TestScreen: a line for each state, in colour only where it is a terminal.
func TestScreen(t *testing.T) {
	t.Parallel()
	play := func(terminal bool) string {
		var out bytes.Buffer
		s := &stage{Screen: &show.Screen{W: &out, Terminal: terminal}}
		s.begin(scene{path: "retried", story: "twice"})
		now := time.Now()
		s.state(passcode.Result{
			Error: &passcode.Error{Code: "Throttling.User"}, UpdatedAt: now, NextAttemptAt: now.Add(300 * time.Millisecond),
		}.In(passcode.StatusRetrying))
		s.state(passcode.Result{Attempts: 2}.In(passcode.StatusSending))
		s.state(passcode.Result{Error: &passcode.Error{Code: "x", Message: strings.Repeat("word ", 40)}}.In(passcode.StatusRejected))
		s.state(passcode.Result{Attempts: 2, Recovered: true}.In(passcode.StatusSent))
		return out.String()
	}
	var text, coloured string
	synctest.Test(t, func(*testing.T) { text, coloured = play(false), play(true) }) // at one time
	for _, want := range []string{
		"retrying (Throttling.User, again in 300ms)\n", "sending (attempt 2)\n", "sent (recovered by look-up)\n",
	} {
		assert.Contains(t, text, want)
	}
	for line := range strings.Lines(text) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), show.Width, line)
	}
	assert.Contains(t, coloured, "\x1b[32msent")
	assert.Equal(t, text, regexp.MustCompile("\x1b\\[[0-9]+m").ReplaceAllString(coloured, ""))
}
