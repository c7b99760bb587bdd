package cli

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzArguments gives the command line anything. It is understood, or refused with
// a text that repeats no phone number that was typed in the wrong place.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"send PHONE", "send --phone PHONE --code pq7z9x --wait PHONE", "limits show PHONE PHONE", "dlq replay --since PHONE --rate PHONE --reason PHONE",
		"dlq list --until 2h --json", "pause PHONE", "--set PHONE", "--PHONE", "-PHONE", "PHONE", "", "help", "request", "dlq",
		"dlq show a b", "--config=PHONE run", "dlq replay --id PHONE --all --dry-run --ttl 5m", "send --help", "-- PHONE", "dlq export --reveal=PHONE",
	} {
		f.Add(seed)
	}
	const phone = "+8613800000001"
	f.Fuzz(func(t *testing.T, line string) {
		var c cli
		parser := newParser(&c, io.Discard, io.Discard, func(int) {}, nil)
		_, err := parser.Parse(strings.Fields(strings.ReplaceAll(line, "PHONE", phone)))
		if err != nil {
			require.NotContains(t, refusedLine(err), phone[1:])
			return
		}
		require.GreaterOrEqual(t, float64(c.DLQ.Replay.Rate), 0.0)
	})
}
