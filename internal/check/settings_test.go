package check

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	results := found(t, plan())
	assert.Equal(t, Result{OK, checkSettings, "", "nothing is wrong with them", ""}, results[0])

	p := plan().with(t, "log: {level: loud}\nworker: {concurency: 5}\n")
	p.Config.Warnings = []string{"limits.phone: is empty: nothing keeps a phone from being flooded"}
	assert.Equal(t, []Result{
		{Fail, checkSettings, "worker.concurency", "is no setting (worker.yaml line 2)", "did you mean worker.concurrency?"},
		{Fail, checkSettings, "log.level", "must be one of debug, info, warn, error (worker.yaml line 1)", "write one of them"},
		{Warn, checkSettings, "limits.phone", "is empty: nothing keeps a phone from being flooded", ""},
	}, found(t, p)[:3])
}

// Each row is a mistake in the settings, and what is not checked for it. All the
// rest is.
func TestWhatRestsOnSettings(t *testing.T) {
	t.Parallel()
	srv, _ := provisioned(t)
	const see = "not checked: see settings"
	for _, test := range []struct {
		file string
		want []string
	}{
		{"log: {level: loud}", nil},
		{"jobs: {max_bytes: many}", nil},
		{"aliyun: {timeout: soon}", nil},
		{"nats: {replicas: 2}", nil},
		{"nats: {url: \"bad://\"}", []string{
			"warn broker : " + see, "warn version : not checked: see broker", "warn rights : not checked: see broker", "warn stream : not checked: see broker",
		}},
		{"dead_letters: {stream: \"a b\"}", []string{"warn rights : " + see, "warn stream PASSCODE_DEAD: " + see}},
		{"jobs: {consumer: \"a b\"}", []string{"warn rights : " + see, "warn consumer passcode-worker: " + see}},
		{"aliyun: {endpoint: \"https://x/\"}", []string{
			"warn endpoint : " + see, "warn clock : not checked: see endpoint", "warn credentials : not checked: see endpoint",
			signSkipped + "endpoint", templateSkipped + "endpoint",
		}},
		{"aliyun: {access_key_secret: {}}", []string{"warn credentials : " + see, signSkipped + "settings", templateSkipped + "settings"}},
		{"aliyun: {templates: [{usage_type: Generic}]}", nil},
		{"{", []string{
			"warn broker : " + see, "warn version : not checked: see broker", "warn rights : not checked: see broker", "warn stream : not checked: see broker",
			"warn endpoint : " + see, "warn clock : not checked: see endpoint", "warn credentials : not checked: see endpoint",
			signSkipped + "endpoint", templateSkipped + "endpoint",
		}},
	} {
		results := found(t, plan().on(srv).with(t, test.file))
		assert.Equal(t, test.want, brief(results, append(append([]string{}, ofBroker...), ofAliyun...)...), test.file)
		assert.NotEmpty(t, brief(results, checkSettings), test.file)
	}
}

// What a setting wants is not known where the setting is wrong, and so no
// difference from it.
func TestADifferenceFromAWrongSetting(t *testing.T) {
	t.Parallel()
	srv, _ := provisioned(t)
	p := plan().on(srv)
	p.Config.Jobs.MaxBytes = 5
	assert.Equal(t, []string{"warn stream PASSCODE: max_bytes is 1073741824, the settings want 5"}, brief(found(t, p), ofBroker...))
	assert.Empty(t, brief(found(t, p.with(t, "jobs: {max_bytes: many}")), ofBroker...))
}

// Where the run is stopped, nothing more is said: what fails then may fail for
// that alone.
func TestStopped(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	cause := errors.New("the operator has seen enough")
	for _, at := range []string{checkBroker, checkEndpoint, checkSignature} {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := func(check string) {
			if check == at {
				cancel(cause)
			}
		}
		p := plan().on(srv)
		dial := p.Dial
		p.Dial = func(ctx context.Context) (*nats.Conn, error) {
			stop(checkBroker)
			return dial(ctx)
		}
		p.Aliyun = answers{
			knock: func() (aliyun.Presence, error) { stop(checkEndpoint); return aliyun.Presence{}, ctx.Err() },
			sign:  func(string) (aliyun.Review, error) { stop(checkSignature); return aliyun.Review{}, ctx.Err() },
		}
		var after []Result
		require.ErrorIs(t, p.Run(ctx, func(r Result) {
			if ctx.Err() != nil {
				after = append(after, r)
			}
		}), cause)
		assert.Empty(t, after, at)
	}
}
