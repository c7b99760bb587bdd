package e2e

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// checked is one line of "worker check --json".
type checked struct {
	Status, Check, Name, Detail string

	Fix string `json:"mend"`
}

func (c checked) what() string { return strings.TrimSpace(c.Check + " " + c.Name) }

// check runs "worker check" and returns its lines and exit status.
func check(t *testing.T, bin string, env map[string]string) ([]checked, int) {
	t.Helper()
	w := harness.StartWorker(t, bin, env, "check", "--json")
	w.Forbid(harness.AccessKeySecret)
	status := w.Wait(bound)
	var lines []checked
	for line := range strings.Lines(w.Stdout()) {
		var c checked
		require.NoError(t, json.Unmarshal([]byte(line), &c), line)
		lines = append(lines, c)
	}
	return lines, status
}

// provisioned runs a broker that has all that a worker needs.
func provisioned(t *testing.T, bin string, configure ...func(*server.Options)) *brokertest.Handle {
	t.Helper()
	srv := brokertest.Server(t, configure...)
	w := harness.StartWorker(t, bin, environ("nats.url", srv.URL()), "provision")
	require.Zero(t, w.Wait(bound))
	return srv
}

// breakage is one thing that is broken, and what "worker check" says of it.
type breakage struct {
	name     string
	settings []string                                       // over good ones
	emulator []string                                       // flags of an emulator of its own
	broker   func(*server.Options)                          // of a broker of its own
	spoil    func(*testing.T, *brokertest.Handle) brokerURL // that broker, and the way to it
	fails    string                                         // the one thing that fails
	says     string
}

type brokerURL = string

var breakages = []breakage{
	{name: "wrong secret", settings: []string{"aliyun.access_key_secret", "NotTheSecret0123456789"}, fails: "credentials", says: "SignatureDoesNotMatch"},
	{name: "unknown key", settings: []string{"aliyun.access_key_id", "LTAI5tNobodysKeyId"}, fails: "credentials", says: "InvalidAccessKeyId.NotFound"},
	{name: "empty signature name", settings: []string{"aliyun.sign_name", ""}, fails: "settings aliyun.sign_name", says: "is missing"},
	{name: "unknown setting", settings: []string{"aliyun.signature", "Emulator"}, fails: "settings PASSCODE_ALIYUN__SIGNATURE", says: "is no setting"},
	{name: "unreachable endpoint", settings: []string{"aliyun.endpoint", "127.0.0.1:1"}, fails: "endpoint", says: "connection refused"},
	{name: "unreachable broker", settings: []string{"nats.url", "nats://127.0.0.1:1"}, fails: "broker", says: "connection refused"},

	{name: "unapproved template", emulator: []string{"--template", "SMS_2"}, fails: "template SMS_100000001", says: "not approved"},
	{name: "template of another kind", emulator: []string{"--template", "SMS_100000001=notification"}, fails: "template SMS_100000001", says: "its kind is notification"},
	{name: "unapproved signature", emulator: []string{"--sign-name", "Somebody"}, fails: "signature Emulator", says: "not approved"},
	{name: "signature that a carrier has not on file", emulator: []string{"--filing", "unicom=-2"}, fails: "signature Emulator", says: "China Unicom does not have it on file"},
	{name: "clock 20 minutes behind", emulator: []string{"--clock-offset=20m"}, fails: "clock", says: "behind Aliyun's"},
	{name: "clock 20 minutes ahead", emulator: []string{"--clock-offset=-20m"}, fails: "clock", says: "ahead of Aliyun's"},
	{name: "not Aliyun", emulator: []string{"--fault", "html502,action=GetSmsSign", "--fault", "html502,action=QuerySmsSign"}, fails: "credentials", says: "not Aliyun SMS"},

	{name: "missing stream", settings: []string{"nats.provision", "false"}, spoil: func(t *testing.T, srv *brokertest.Handle) brokerURL {
		_, js := srv.Connect()
		require.NoError(t, js.DeleteStream(t.Context(), "PASSCODE"))
		return srv.URL()
	}, fails: "stream PASSCODE", says: "missing"},
	{name: "stream with another retention", spoil: func(t *testing.T, srv *brokertest.Handle) brokerURL {
		_, js := srv.Connect()
		require.NoError(t, js.DeleteStream(t.Context(), "PASSCODE_DEAD"))
		_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: "PASSCODE_DEAD", Subjects: []string{"passcode.dead.>"}, Retention: jetstream.InterestPolicy, MaxMsgsPerSubject: 1,
		})
		require.NoError(t, err)
		return srv.URL()
	}, fails: "stream PASSCODE_DEAD", says: "retention is Interest"},
	{name: "no right to publish results", broker: func(o *server.Options) {
		o.NoAuthUser = "admin"
		o.Users = []*server.User{{Username: "admin", Password: "admin"}, {
			Username: "worker", Password: "worker",
			Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"passcode.result.>"}}},
		}}
	}, spoil: func(_ *testing.T, srv *brokertest.Handle) brokerURL {
		return strings.Replace(srv.URL(), "://", "://worker:worker@", 1)
	}, fails: "rights publish passcode.result.>", says: "not allowed"},
	{name: "NATS 2.10", spoil: func(t *testing.T, srv *brokertest.Handle) brokerURL { return older(t, srv.URL()) }, fails: "version", says: "2.10.29"},
}

// TestCheck breaks one thing after another: that one fails, by its name, and
// nothing else does.
func TestCheck(t *testing.T) {
	t.Parallel()
	bin := harness.BuildWorker(t)
	good := harness.StartEmulator(t, bin).WorkerEnv(provisioned(t, bin).URL())
	lines, status := check(t, bin, good)
	assert.Zero(t, status)
	assert.GreaterOrEqual(t, len(lines), 14)
	for _, c := range lines {
		assert.Equal(t, "ok", c.Status, c)
	}
	for _, test := range breakages {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := maps.Clone(good)
			if test.emulator != nil {
				maps.Copy(env, harness.StartEmulator(t, bin, test.emulator...).WorkerEnv(good[variable("nats.url")]))
			}
			if test.spoil != nil {
				var configure []func(*server.Options)
				if test.broker != nil {
					configure = append(configure, test.broker)
				}
				env[variable("nats.url")] = test.spoil(t, provisioned(t, bin, configure...))
			}
			maps.Copy(env, environ(test.settings...))

			lines, status := check(t, bin, env)
			assert.Equal(t, 1, status)
			var said string
			for _, c := range lines {
				if c.Status == "fail" {
					said += c.Detail
					assert.Equal(t, test.fails, c.what())
					assert.NotEmpty(t, c.Fix)
				}
			}
			assert.Contains(t, said, test.says)
			for _, last := range []string{"broker", "endpoint", "template"} {
				assert.Contains(t, whatOf(lines), last, "what can be checked is")
			}
		})
	}
}

// whatOf lists what was checked.
func whatOf(lines []checked) []string {
	var list []string
	for _, c := range lines {
		list = append(list, c.Check)
	}
	return list
}
