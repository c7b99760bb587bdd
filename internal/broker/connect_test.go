package broker_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func TestConnectStartsBeforeTheBroker(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	srv.Stop()
	out, log := newLog()
	nc := connect(t, at(srv.URL()), log)
	assert.False(t, nc.IsConnected())

	ended, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator went home")
	cancel(cause)
	require.ErrorIs(t, broker.WaitConnected(ended, nc), cause)

	srv.Restart()
	require.NoError(t, broker.WaitConnected(within(t, patience), nc))
	eventually(t, func() bool { return strings.Contains(out.String(), "connected to NATS") }, "logged")
	assert.Contains(t, out.String(), "can't connect to NATS")
	assert.NotContains(t, out.String(), "level=ERROR")
}

func TestConnectComesBackAfterARestart(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	out, log := newLog()
	nc, _ := connectedTo(t, at(srv.URL()), log)
	srv.Stop()
	eventually(t, func() bool { return !nc.IsConnected() }, "the loss is noticed")
	srv.Restart()
	require.NoError(t, broker.WaitConnected(within(t, patience), nc))
	eventually(t, func() bool { return strings.Contains(out.String(), "reconnected to NATS") }, "logged")
	assert.Contains(t, out.String(), "disconnected from NATS")
}

func TestWhatIsPublishedWhileDisconnectedFailsAtOnceAndIsNeverSent(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	nc, js := connectedTo(t, at(srv.URL()), quiet)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)

	srv.Stop()
	eventually(t, func() bool { return !nc.IsConnected() }, "the loss is noticed")
	_, err = js.Publish(t.Context(), "s", []byte("lost"))
	require.ErrorIs(t, err, nats.ErrReconnectBufExceeded)
	require.ErrorIs(t, nc.Publish("s", []byte("lost")), nats.ErrReconnectBufExceeded)

	srv.Restart()
	require.NoError(t, broker.WaitConnected(within(t, patience), nc))
	ack, err := js.Publish(t.Context(), "s", []byte("kept"))
	require.NoError(t, err)
	assert.EqualValues(t, 1, ack.Sequence)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1, info.State.Msgs)
}

// A server that is cut off leaves its connections open and says nothing more. A
// worker that stayed with it would do nothing while the others work. One that takes
// nothing more either has the client's writes wait.
func TestASilentServerIsLeft(t *testing.T) {
	t.Parallel()
	for name, deaf := range map[string]bool{"and takes what it is sent": false, "and takes nothing": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			connected, over := make(chan struct{}, 10), make(chan struct{})
			var running sync.WaitGroup
			t.Cleanup(running.Wait)
			t.Cleanup(func() { require.NoError(t, listener.Close()) })
			t.Cleanup(func() { close(over) })
			running.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					running.Go(func() { silentServer(conn, connected, deaf, over) })
				}
			})

			nc, _ := connectedTo(t, at("nats://"+listener.Addr().String()), quiet)
			<-connected
			began := time.Now()
			running.Go(func() {
				for range 32 { // more than the sockets hold
					_ = nc.Publish("subject", make([]byte, 512<<10))
				}
			})
			select {
			case <-connected:
				assert.Greater(t, time.Since(began), 2*time.Second, "a moment's silence is no reason")
			case <-time.After(25 * time.Second):
				require.Fail(t, "the connection stays with a silent server")
			}
		})
	}
}

// silentServer greets a client, answers its first ping, and nothing after that. One
// that is deaf doesn't even read what comes then, until the test is over.
func silentServer(conn net.Conn, connected chan<- struct{}, deaf bool, over <-chan struct{}) {
	defer func() { _ = conn.Close() }() // the client's end decides
	_, _ = io.WriteString(conn, `INFO {"server_id":"S","version":"2.15.2","proto":1,"max_payload":1048576}`+"\r\n")
	lines := bufio.NewReader(conn)
	for answered := false; ; {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		if string(line) == "PING\r\n" && !answered {
			answered = true
			_, _ = io.WriteString(conn, "PONG\r\n")
			connected <- struct{}{}
			if deaf {
				<-over
				return
			}
		}
	}
}

func TestWaitConnectedOnAClosedConnection(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	nc := connect(t, at(srv.URL()), quiet)
	nc.Close()
	require.ErrorContains(t, broker.WaitConnected(t.Context(), nc), "closed")
	require.ErrorContains(t, broker.CheckServer(nc), "not connected")
}

func TestConnectHonoursAnEndedContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := broker.Connect(ctx, at("nats://127.0.0.1:1"), "test", broker.WorkerInbox, quiet)
	require.ErrorIs(t, err, context.Canceled)
}

// The client gives up on a server that refuses it twice with the same words; a
// worker must not.
func TestARefusedConnectionIsTriedAgainAndShowsNoPassword(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t, func(o *server.Options) { o.Username, o.Password = "worker", "right-password" })
	for name, url := range map[string]string{
		"in the URL": strings.Replace(srv.URL(), "://", "://worker:wrong-password@", 1),
		"none":       srv.URL(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, log := newLog()
			nc := connect(t, at(url), log)
			eventually(t, func() bool { return strings.Contains(out.String(), "refuses the credentials") }, "logged")
			err := broker.WaitConnected(within(t, 3*time.Second), nc) // several tries
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.False(t, nc.IsClosed())
			assert.Equal(t, 1, strings.Count(out.String(), "refuses the credentials"), "said once, not at every try")
			for _, text := range []string{out.String(), err.Error()} {
				assert.NotContains(t, text, "wrong-password")
			}
		})
	}
}

// Whoever may subscribe to _INBOX.> reads what is answered there, so nothing of
// ours may be.
func TestEveryAnswerComesToTheInbox(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "worker", Password: "pw", Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Allow: []string{broker.WorkerInbox + ".>"}},
		}}}
	})
	out, log := newLog()
	nc, js := connectedTo(t, config.NATS{URL: config.NewServerURLs(srv.URL()), User: "worker", Password: passcode.NewSecret("pw")}, log)
	ctx := within(t, patience)
	provision(t, js, config.Default(), true)

	_, err := js.Publish(ctx, "passcode.send", []byte("job"))
	require.NoError(t, err)
	consumer, err := js.Consumer(ctx, "PASSCODE", "passcode-worker")
	require.NoError(t, err)
	messages, err := consumer.Messages()
	require.NoError(t, err)
	defer messages.Stop()
	msg, err := messages.Next(jetstream.NextContext(ctx))
	require.NoError(t, err)
	assert.Equal(t, "job", string(msg.Data()))
	require.NoError(t, msg.DoubleAck(ctx))

	kv, err := js.KeyValue(ctx, "passcode-limits")
	require.NoError(t, err)
	_, err = kv.PutString(ctx, "a", "value")
	require.NoError(t, err)
	entry, err := kv.Get(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, "value", string(entry.Value()))
	watcher, err := kv.Watch(ctx, "a")
	require.NoError(t, err)
	assert.Equal(t, "value", string((<-watcher.Updates()).Value()))
	require.NoError(t, watcher.Stop())

	_, err = nc.SubscribeSync("_INBOX.>")
	require.NoError(t, err)
	eventually(t, func() bool { return strings.Contains(out.String(), "denies a right") }, "logged")
	assert.Equal(t, 1, strings.Count(out.String(), "denies a right"), "nothing else asked for another inbox: %s", out)
	assert.Contains(t, out.String(), "subject=_INBOX.>")
}

func TestConnectOnce(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	ctx, cancel := context.WithCancel(within(t, patience))
	nc, err := broker.Connect(ctx, at("nats://127.0.0.1:1,"+srv.URL()), "test", broker.WorkerInbox, quiet, nats.RetryOnFailedConnect(false))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	cancel() // it was for the connecting alone
	require.NoError(t, nc.FlushWithContext(within(t, patience)))
	assert.Contains(t, nc.NewInbox(), broker.WorkerInbox)

	srv.Restart()
	require.NoError(t, broker.WaitConnected(within(t, patience), nc), "and it keeps itself up")
}

func TestConnectOnceSaysWhyNot(t *testing.T) {
	t.Parallel()
	guarded := brokertest.Server(t, func(o *server.Options) { o.Username, o.Password = "worker", "right" })
	refused := at(guarded.URL())
	refused.User, refused.Password = "worker", passcode.NewSecret("wr0ng")
	noCreds := at(guarded.URL())
	noCreds.Creds = "/nowhere/user.creds"
	for want, n := range map[string]config.NATS{
		"connection refused":              at("nats://127.0.0.1:1"),
		"no such host":                    at("nats://nobody.invalid"),
		"Authorization Violation":         refused,
		"secure connection not available": at("tls" + guarded.URL()[len("nats"):]),
		"nats.creds: open":                noCreds,
	} {
		_, err := broker.Connect(within(t, patience), n, "test", broker.WorkerInbox, quiet, nats.RetryOnFailedConnect(false))
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "wr0ng")
	}
}

// TestConnectOnceLeavesWithItsContext: a server that accepts and never greets.
func TestConnectOnceLeavesWithItsContext(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the operator has seen enough")
	met := make(chan struct{})
	go func() {
		defer close(met)
		conn, err := silent.Accept()
		if err != nil {
			return
		}
		cancel(cause)
		_, _ = io.Copy(io.Discard, conn) // until the client leaves
		_ = conn.Close()
	}()
	_, err = broker.Connect(ctx, at("nats://"+silent.Addr().String()), "test", broker.WorkerInbox, quiet, nats.RetryOnFailedConnect(false))
	require.ErrorIs(t, err, cause)
	<-met
	require.NoError(t, silent.Close())

	_, err = broker.Connect(ctx, at("nats://"+silent.Addr().String()), "test", broker.WorkerInbox, quiet, nats.RetryOnFailedConnect(false))
	require.ErrorIs(t, err, cause, "nor does it begin")
}
