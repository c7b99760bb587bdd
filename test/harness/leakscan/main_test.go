package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	t.Parallel()
	tests := t.TempDir()
	code := "58" + "3914" // in two pieces, as this file is searched for passcodes too
	write := func(name, text string) string {
		path := filepath.Join(tests, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("a_test.go", `NewPasscode("`+code+`")`)
	clean := write("clean.log", "ok 0.1s\n")
	leaky := write("leaky.log", "ok\ncode "+code+"\nto +86138"+"12345678\n")

	rows := []struct {
		sentence string
		args     []string
		status   int
		says     string
	}{
		{"a clean log passes", []string{"-tests", tests, clean}, 0, "no phone number and none of 1 passcodes in 1 logs\n"},
		{"a leak fails", []string{"-tests", tests, clean, leaky}, 1, leaky + ": line 2: a passcode: code ****\n" + leaky + ": line 3: a whole phone number: to ****\n2 leaks\n"},
		{"a missing log is no clean one", []string{"-tests", tests, clean + "x"}, 2, ""},
		{"a missing folder of tests is an error", []string{"-tests", tests + "x", clean}, 2, ""},
		{"no log is an error", nil, 2, ""},
		{"an unknown flag is an error", []string{"-x"}, 2, ""},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			assert.Equal(t, row.status, run(row.args, &stdout, &stderr))
			assert.Equal(t, row.says, stdout.String())
			assert.Equal(t, row.status == 2, stderr.Len() > 0, "errors go to standard error")
		})
	}
}
