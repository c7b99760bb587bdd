package command

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/app"
)

func TestAsk(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		typed string
		done  bool
	}{
		{"y\n", true},
		{" YES \n", true},
		{"\n", false},
		{"n\n", false},
		{"yesterday\n", false},
		{"y", false}, // Ctrl-D before the line was sent off
		{"", false},
	} {
		var stderr bytes.Buffer
		err := ask(&Env{Stop: t.Context(), Stdin: strings.NewReader(row.typed), Stderr: &stderr}, "Forget it all?")
		assert.Contains(t, stderr.String(), "Forget it all? [y/N] ", "%q", row.typed)
		if row.done {
			assert.NoError(t, err, "%q", row.typed)
			continue
		}
		assert.ErrorIs(t, err, ErrSaid, "%q", row.typed)
		assert.Contains(t, stderr.String(), "nothing was done", "%q", row.typed)
	}
}

// TestAskEndsWithCtrlC: the question goes away with the command.
func TestAskEndsWithCtrlC(t *testing.T) {
	t.Parallel()
	typed, keyboard := io.Pipe() // nobody types anything
	t.Cleanup(func() { _ = keyboard.Close() })
	stop, ctrlC := context.WithCancel(t.Context())
	ctrlC()
	var stderr bytes.Buffer
	err := ask(&Env{Stop: stop, Stdin: typed, Stderr: &stderr}, "Forget it all?")
	assert.ErrorIs(t, err, ErrSaid)
	assert.Contains(t, stderr.String(), "nothing was done")
}

// TestConfirmWithoutTerminal: a script is told what to add, and --yes is enough.
func TestConfirmWithoutTerminal(t *testing.T) {
	t.Parallel()
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	t.Cleanup(func() { _ = null.Close() })
	for _, stdin := range []io.Reader{null, strings.NewReader("y\n"), nil} {
		var stderr bytes.Buffer
		e := &Env{Stop: t.Context(), Stdin: stdin, Stderr: &stderr}
		var usage app.UsageError
		err := e.Confirm(false, "Forget it all?")
		require.ErrorAs(t, err, &usage)
		assert.ErrorContains(t, err, "add --yes")
		assert.NoError(t, e.Confirm(true, "Forget it all?"))
		assert.Empty(t, stderr.String(), "nothing is asked where nobody can answer")
	}
}
