package broker_test

import (
	"testing"

	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestAWrongSettingIsAnImmediateErrorThatNamesItsKey(t *testing.T) {
	t.Parallel()
	const url = "nats://127.0.0.1:1"
	account, err := nkeys.CreateAccount()
	require.NoError(t, err)
	accountSeed, err := account.Seed()
	require.NoError(t, err)
	junk := write(t, "junk", []byte("s3cret-words"))
	secret := passcode.NewSecret("s3cret-words")

	for name, test := range map[string]struct {
		options broker.Options
		want    string
	}{
		"no URL":               {broker.Options{}, "nats.url: must name"},
		"only commas":          {broker.Options{URL: " , "}, "nats.url: must name"},
		"wrong scheme":         {broker.Options{URL: "http://127.0.0.1"}, "nats.url: entry 1"},
		"no host":              {broker.Options{URL: "nats://"}, "nats.url: entry 1"},
		"second entry":         {broker.Options{URL: url + ",nats://a b"}, "nats.url: entry 2"},
		"bare password":        {broker.Options{URL: "nats://user:s3cret-words/%zz@127.0.0.1"}, "percent-encoded"},
		"creds missing":        {broker.Options{URL: url, Creds: "/nonexistent.creds"}, "nats.creds: open /nonexistent.creds"},
		"creds are junk":       {broker.Options{URL: url, Creds: junk}, "nats.creds: the file holds no user JWT"},
		"seed file missing":    {broker.Options{URL: url, NKeySeedFile: "/nonexistent.nk"}, "nats.nkey_seed_file: "},
		"seed file is junk":    {broker.Options{URL: url, NKeySeedFile: junk}, "nats.nkey_seed_file: holds no user nkey seed"},
		"seed of an account":   {broker.Options{URL: url, NKeySeedFile: write(t, "a.nk", accountSeed)}, "nats.nkey_seed_file: "},
		"password alone":       {broker.Options{URL: url, Password: secret}, "nats.password: needs nats.user"},
		"two ways in":          {broker.Options{URL: url, User: "u", Token: secret}, "nats.user, nats.token: only one"},
		"CA missing":           {broker.Options{URL: url, CA: "/nonexistent.pem"}, "nats.tls.ca: open /nonexistent.pem"},
		"CA is junk":           {broker.Options{URL: url, CA: junk}, "nats.tls.ca: the file holds no PEM"},
		"cert without key":     {broker.Options{URL: url, Cert: junk}, "nats.tls.key: must be set"},
		"key without cert":     {broker.Options{URL: url, Key: junk}, "nats.tls.cert: must be set"},
		"cert and key are bad": {broker.Options{URL: url, Cert: junk, Key: junk}, "nats.tls.cert and nats.tls.key: are no matching"},
		"cert missing":         {broker.Options{URL: url, Cert: "/nonexistent.pem", Key: junk}, "open /nonexistent.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := broker.Connect(t.Context(), test.options, nil)
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "s3cret")
		})
	}
}

func TestAllWrongSettingsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := broker.Connect(t.Context(), broker.Options{URL: "x://", Creds: "/nonexistent", CA: "/nonexistent"}, nil)
	for _, key := range []string{"nats.url", "nats.creds", "nats.tls.ca"} {
		require.ErrorContains(t, err, key)
	}
}
