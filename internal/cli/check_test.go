package cli

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/check"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
)

// long is a result that takes more than a line of 80 columns.
var long = check.Result{
	Status: check.Fail, Check: "rights", Name: "publish $JS.API.CONSUMER.CREATE.KV_passcode-limits.*.$KV.passcode-limits.account",
	Detail: "not allowed: watch the\nstate of the\x1b[31m account <&>", Fix: strings.Repeat("add it to the permissions ", 6),
}

// printed is what the printer makes of a result.
func printed(k *checkCmd, r check.Result) string {
	var out bytes.Buffer
	k.printer(&command.Env{Stdout: &out})(r)
	return out.String()
}

func TestCheckPrintsALineAResult(t *testing.T) {
	t.Parallel()
	text := printed(&checkCmd{}, long)
	assert.Equal(t, 1, strings.Count(text, "\n"))
	assert.NotContains(t, text, "\x1b")
	assert.Contains(t, text, "fail  rights       publish $JS.API")
	assert.Contains(t, text, "; fix: add it to")
	assert.Equal(t, "ok    broker       connected\n", printed(&checkCmd{}, check.Result{Status: check.OK, Check: "broker", Detail: "connected"}))

	text = printed(&checkCmd{JSON: true}, long)
	assert.Equal(t, 1, strings.Count(text, "\n"))
	assert.Contains(t, text, "<&>")
	assert.Contains(t, text, `"detail":"not allowed: watch the\nstate`)
}

// TestCheckFitsATerminal, as far as its words do.
func TestCheckFitsATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	printFolded(&show.Screen{W: &out, Terminal: true}, long)
	text := colours.ReplaceAllString(out.String(), "")
	assert.NotContains(t, text, "\x1b")
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	require.Greater(t, len(lines), 4)
	assert.True(t, strings.HasPrefix(lines[0], "fail  rights       publish"), lines[0])
	assert.Contains(t, text, "\n                   → add it to")
	for _, line := range lines[1:] {
		assert.True(t, strings.HasPrefix(line, strings.Repeat(" ", 19)), line)
		if !strings.Contains(line, "$JS.API") {
			assert.LessOrEqual(t, utf8.RuneCountInString(line), show.Width, line)
		}
	}
}

// TestCheckAsksWhateverElseIsWrong: settings that only sending needs don't keep
// the others from being checked.
func TestCheckAsksWhateverElseIsWrong(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{
		"aliyun.timeout=-1s", "aliyun.connect_timeout=-1s", "aliyun.max_qps=-1", "worker.concurrency=-1",
		"aliyun.access_key_id=LTAI5tAlone", "aliyun.security_token=alone",
	} {
		cfg, err := config.Load(config.Source{Set: []string{setting}, ToRun: true})
		var problems *config.Errors
		require.ErrorAs(t, err, &problems, setting)
		sender, err := askingSender(cfg, problems)
		require.NoError(t, err, setting)
		sender.Close()
	}
}

// colours are what a terminal is told about them.
var colours = regexp.MustCompile("\x1b\\[[0-9]+m")
