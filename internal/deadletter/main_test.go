package deadletter_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	queuedAt    = time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	attemptedAt = queuedAt.Add(1500 * time.Millisecond)
	deadAt      = time.Date(2026, 1, 2, 11, 4, 6, 789000000, time.FixedZone("CST", 8*60*60))
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func letter(body string) domain.DeadLetter {
	return domain.DeadLetter{
		Reason: passcode.ReasonConfig, RequestID: "01JD-x_Y", ErrorCode: "isv.SMS_TEMPLATE_ILLEGAL",
		ErrorMessage: "模板不合法", Attempts: 2, AttemptedAt: attemptedAt, Replays: 1, TraceParent: traceParent, TraceState: "a=b,c=d",
		Origin: domain.Origin{Stream: "PASSCODE", Seq: 42, Subject: "passcode.send", QueuedAt: queuedAt},
		Body:   []byte(body),
	}
}

// start runs a broker with the stream and a store on it.
func start(t *testing.T) (*deadletter.Store, jetstream.Stream, jetstream.JetStream) {
	t.Helper()
	_, js := brokertest.Start(t)
	store, stream := startOn(t, js)
	return store, stream, js
}

// startOn makes the stream and a store on it.
func startOn(t *testing.T, js jetstream.JetStream) (*deadletter.Store, jetstream.Stream) {
	t.Helper()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "PASSCODE_DEAD", Subjects: []string{"passcode.dead.>"}, MaxMsgsPerSubject: 1,
		Storage: jetstream.FileStorage, AllowDirect: true, Duplicates: time.Hour, MaxAge: 72 * time.Hour,
	})
	require.NoError(t, err)
	return &deadletter.Store{
		JS: js, Stream: "PASSCODE_DEAD", Subject: "passcode.dead", Worker: "host-1",
		Now: func() time.Time { return deadAt },
	}, stream
}

// stored is how many messages a stream holds.
func stored(t *testing.T, stream jetstream.Stream) uint64 {
	t.Helper()
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	return info.State.Msgs
}

func last(t *testing.T, stream jetstream.Stream, subject string) *jetstream.RawStreamMsg {
	t.Helper()
	msg, err := stream.GetLastMsgForSubject(t.Context(), subject)
	require.NoError(t, err)
	return msg
}
