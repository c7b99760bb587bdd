package aliyun

import (
	"testing"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// BenchmarkSend measures whole calls against a loopback server in the same
// process, so its allocations include the server's.
func BenchmarkSend(b *testing.B) {
	s := newTestSender(b, testOptions(newService(b, ok).URL))
	msg := testMessage()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if outcome := s.Send(b.Context(), msg, time.Time{}); outcome.Class != passcode.ClassOK {
				b.Errorf("%+v", outcome)
				return
			}
		}
	})
}

// BenchmarkSendInMemory is our share and the SDK's, without a network.
func BenchmarkSendInMemory(b *testing.B) {
	s := newTestSender(b, testOptions("127.0.0.1:1"))
	s.wire.HTTP.Transport = memory{status: 200, body: []byte(okBody)}
	msg := testMessage()
	b.ReportAllocs()
	for b.Loop() {
		if outcome := s.Send(b.Context(), msg, time.Time{}); outcome.Class != passcode.ClassOK {
			b.Fatalf("%+v", outcome)
		}
	}
}
