package jobs

import (
	"log/slog"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

// FuzzAdvisory hears what the server, or somebody who plays it, says of a job that it delivers no more. A
// stranger's reason goes into a dead letter and the log, so it is one short line without numbers; and what a
// worker terminated itself, or the server found gone, is never taken for lost.
func FuzzAdvisory(f *testing.F) {
	const terminated = `{"type":"io.nats.jetstream.advisory.v1.terminated","stream_seq":7,"deliveries":1,"reason":`
	f.Add([]byte(`{"type":"io.nats.jetstream.advisory.v1.max_deliver","stream":"S","consumer":"C","stream_seq":7,"deliveries":5}`))
	f.Add([]byte(terminated + `"passcode-worker: dead-lettered"}`))
	f.Add([]byte(terminated + `"Unacknowledged message was deleted"}`))
	f.Add([]byte(terminated + `"13812345678 \u001b[2J\n\ud800 ` + strings.Repeat("短", 200) + `"}`))
	f.Add([]byte(`{"type":".terminated","stream_seq":18446744073709551615,"deliveries":-1}`))
	f.Add([]byte(`{"stream_seq":0}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := Watch{Scrub: telemetry.Scrub, Logger: slog.New(slog.DiscardHandler), open: map[uint64]openCase{}}
		w.heard(&nats.Msg{Subject: "s", Data: data})
		if len(w.open) > 1 {
			t.Fatalf("%d jobs by one advisory", len(w.open))
		}
		for seq, open := range w.open {
			why := open.why
			if seq == 0 || why.Suspected || (why.Reason != "" && !why.Terminated) {
				t.Fatalf("job %d: %+v", seq, why)
			}
			if len(why.Reason) > maxReasonBytes || !utf8.ValidString(why.Reason) || strings.ContainsFunc(why.Reason, unicode.IsControl) {
				t.Fatalf("a reason of %d bytes: %q", len(why.Reason), why.Reason)
			}
			if telemetry.Scrub(why.Reason) != why.Reason {
				t.Fatal("the reason holds what may be a number")
			}
			if why.Terminated && (strings.HasPrefix(why.Reason, workerTerm) || why.Reason == deletedReasons[0] || why.Reason == deletedReasons[1]) {
				// Only by what was taken out of it: the server's words stand at its very beginning, and alone.
				if strings.Contains(string(data), `"reason":"`+why.Reason+`"`) {
					t.Fatalf("taken for a stranger's: %q", why.Reason)
				}
			}
		}
	})
}
