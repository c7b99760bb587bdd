package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestLoadDefaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":            "",
		"comments alone":   "# nothing\n",
		"empty document":   "---\n",
		"null":             "null\n",
		"empty object":     "{}\n",
		"empty sections":   "nats:\naliyun: ~\nworker: {}\n",
		"empty subsection": "nats:\n  tls:\n",
		"empty values":     "nats:\n  url:\nworker:\n  concurrency:\nlimits: {phone: }\n",
		"byte order mark":  "\ufefflog:\n",
	} {
		got, err := Load(source(text))
		require.NoError(t, err, name)
		assert.Equal(t, Default(), got, name)
	}
	none := Source{ReadFile: files{}.read}
	got, err := Load(none)
	require.NoError(t, err)
	assert.Equal(t, Default(), got)
}

// other gives each setting a value that is not its default, as it is written in
// the environment, and as YAML where that differs.
var other = map[string]string{
	"nats.url": "tls://n1:4222,tls://n2:4222", "nats.creds": "/c", "nats.nkey_seed_file": "/n", "nats.user": "u",
	"nats.password": "p", "nats.token": "0123", "nats.tls.ca": "/ca", "nats.tls.cert": "/cert", "nats.tls.key": "/key",
	"nats.replicas": "3", "nats.provision": "false", "nats.embedded.enabled": "true", "nats.embedded.listen": "127.0.0.1:1",
	"nats.embedded.store_dir": "/d",
	"jobs.stream":             "S", "jobs.subject": "j", "jobs.consumer": "c", "jobs.max_bytes": "512MiB", "jobs.duplicate_window": "1m",
	"results.bucket": "rb", "results.subject": "r", "results.retention": "48h", "results.reply_subjects": `["a.*"]`,
	"dead_letters.stream": "D", "dead_letters.subject": "d", "dead_letters.retention": "1h",
	"worker.concurrency": "7", "worker.passcode_ttl": "5m", "worker.ack_wait": "20s", "worker.max_interruptions": "2",
	"worker.shutdown_timeout": "11s",
	"retry.initial_interval":  "1s", "retry.multiplier": "1.5", "retry.randomization_factor": "0.25", "retry.max_interval": "1m",
	"retry.max_attempts": "3",
	"limits.bucket":      "lb", "limits.phone": `["2/1m","9/24h"]`, "limits.key": "0123456789abcdef",
	"aliyun.endpoint": "127.0.0.1:9080", "aliyun.protocol": "http", "aliyun.access_key_id": "LTAI5t", "aliyun.access_key_secret": "s",
	"aliyun.security_token": "t", "aliyun.sign_name": "Sign",
	"aliyun.templates": `[{"usage_type":"Generic","template_code":"C","sign_name":"T","params":["x"]},` +
		`{"usage_type":"SignIn","template_code":{"china":"C1","overseas":"C2"}}]`,
	"aliyun.strict_phone_region_number_check": "true", "aliyun.connector_file": "connector.json", "aliyun.connect_timeout": "1s",
	"aliyun.timeout": "3s", "aliyun.max_qps": "50", "aliyun.in_doubt.lookups": `["4s","8s"]`, "aliyun.in_doubt.resend": "false",
	"http.listen": ":8081", "log.level": "debug", "log.format": "text",
}

// TestEveryKeyFromEverySource sets each key alone by the file, the environment
// and the command line, and finds that all three lead to the same.
func TestEveryKeyFromEverySource(t *testing.T) {
	t.Parallel()
	assert.ElementsMatch(t, allKeys(), slices.Collect(maps.Keys(other)), "a key without a value here")
	for _, k := range known.keys {
		t.Run(k.path, func(t *testing.T) {
			t.Parallel()
			field := func(c Config) any { return k.field(&c).Interface() }
			text := other[k.path]
			// Some keys can't stand alone; that is another test's business.
			fromEnv, _ := Load(withEnv(source(""), map[string]string{k.path: text}))
			require.NotEqual(t, field(Default()), field(fromEnv), "the variable has no effect")
			fromSet, _ := Load(set(k.path + "=" + text))
			assert.Equal(t, field(fromEnv), field(fromSet))
			fromFile, _ := Load(source(asYAML(k.path, text)))
			assert.Equal(t, field(fromEnv), field(fromFile))
		})
	}
}

func TestLoadValues(t *testing.T) {
	t.Parallel()
	src := source(`
nats: {token: 00123}
limits: {phone: [3/2m]}
aliyun:
  access_key_id: 123
  access_key_secret: 0x10
  sign_name: true
  templates:
  - {usage_type: Generic, template_code: 0123, params: [product, 7]}
  - usage_type: SignIn
    template_code: {china: A, overseas: B}
    sign_name: Other
log: {level: WARN}
`)
	src.ToRun = true
	got, err := Load(src)
	require.NoError(t, err)
	assert.Equal(t, passcode.NewSecret("00123"), got.NATS.Token, "numbers are taken as they are written")
	assert.Equal(t, "123", got.Aliyun.AccessKeyID.Reveal())
	assert.Equal(t, "0x10", got.Aliyun.AccessKeySecret.Reveal())
	assert.Equal(t, "true", got.Aliyun.SignName)
	assert.Equal(t, []domain.Rule{{Max: 3, Window: 2 * time.Minute}}, got.Limits.Phone)
	assert.Equal(t, []domain.Template{
		{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: "0123", Overseas: "0123"}, Params: []string{"product", "7"}},
		{UsageType: "SignIn", TemplateCode: domain.TemplateCode{China: "A", Overseas: "B"}, SignName: "Other"},
	}, got.Aliyun.Templates)
	assert.Equal(t, "warn", got.Log.Level)
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	src := source("worker: {concurrency: 2, max_interruptions: 2}\nretry: {max_attempts: 2}\n")
	src.Env = []string{
		"PASSCODE_WORKER__CONCURRENCY=1", "PASSCODE_WORKER__CONCURRENCY=3", "PASSCODE_WORKER__MAX_INTERRUPTIONS=3",
		"OTHER=1", "passcode_worker__concurrency=9", "PASSCODEX=1",
	}
	src.Set = []string{"worker.concurrency=1", "worker.concurrency=4"}
	got, err := Load(src)
	require.NoError(t, err)
	assert.Equal(t, 4, got.Worker.Concurrency, "the command line wins, and the last of a key in it")
	assert.Equal(t, 3, got.Worker.MaxInterruptions, "the environment wins over the file")
	assert.Equal(t, 2, got.Retry.MaxAttempts, "the file wins over the default")
	assert.Equal(t, 30*time.Second, got.Retry.MaxInterval)
}

func TestSectionsAsJSON(t *testing.T) {
	t.Parallel()
	src := source("")
	src.Env = []string{
		`PASSCODE_NATS__TLS__CA=/own`,
		`PASSCODE_NATS__TLS={"ca":"/section","cert":"/c","key":"\/k\u00e9\ud83d\ude00"}`,
		`PASSCODE_NATS={"replicas":3,"tls":{"ca":"/outer"},"url":null}`,
		`PASSCODE_ALIYUN__IN_DOUBT={"lookups":["6s"],"resend":false}`,
	}
	src.Set = []string{`retry={"multiplier":3,"max_attempts":1}`}
	got, err := Load(src)
	require.NoError(t, err)
	assert.Equal(t, TLS{CA: "/own", Cert: "/c", Key: "/ké😀"}, got.NATS.TLS, "what is named itself wins over its section")
	assert.Equal(t, 3, got.NATS.Replicas)
	assert.Equal(t, Default().NATS.URL, got.NATS.URL)
	assert.Equal(t, []time.Duration{6 * time.Second}, got.Aliyun.InDoubt.Lookups)
	assert.False(t, got.Aliyun.InDoubt.Resend)
	assert.InDelta(t, 3, got.Retry.Multiplier, 0)
	assert.Equal(t, 1, got.Retry.MaxAttempts)
}

func TestWhichFile(t *testing.T) {
	t.Parallel()
	all := files{
		"worker.yaml": "worker: {concurrency: 1}", "/etc/env.yaml": "worker: {concurrency: 2}", "flag.yaml": "worker: {concurrency: 3}",
	}
	for name, test := range map[string]struct {
		src  Source
		want int
	}{
		"worker.yaml where present":     {Source{}, 1},
		"the environment's":             {Source{Env: []string{"PASSCODE_CONFIG=/etc/env.yaml"}}, 2},
		"the flag's before all":         {Source{File: "flag.yaml", Env: []string{"PASSCODE_CONFIG=/etc/env.yaml"}}, 3},
		"an empty variable names none":  {Source{Env: []string{"PASSCODE_CONFIG="}}, 1},
		"the last of the variable wins": {Source{Env: []string{"PASSCODE_CONFIG=x", "PASSCODE_CONFIG=flag.yaml"}}, 3},
	} {
		test.src.ReadFile = all.read
		got, err := Load(test.src)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, got.Worker.Concurrency, name)
	}
}

func TestFileOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "worker.yaml")
	require.NoError(t, os.WriteFile(file, []byte("log: {level: debug}"), 0o600))
	got, err := Load(Source{File: file})
	require.NoError(t, err)
	assert.Equal(t, "debug", got.Log.Level)
	_, err = Load(Source{File: dir})
	assert.ErrorContains(t, err, dir+": can't be read: read "+dir+": is a directory")
}

func TestFileThatCantBeRead(t *testing.T) {
	t.Parallel()
	refuse := func(err error) func(string) ([]byte, error) {
		return func(name string) ([]byte, error) {
			return nil, fmt.Errorf("read: %w", &fs.PathError{Op: "open", Path: name, Err: err})
		}
	}
	for name, test := range map[string]struct {
		src  Source
		want string
	}{
		"flag":       {Source{File: "none.yaml", ReadFile: files{}.read}, "none.yaml: can't be read: there is no such file"},
		"variable":   {Source{Env: []string{"PASSCODE_CONFIG=none.yaml"}, ReadFile: files{}.read}, "none.yaml: can't be read: there is no such file"},
		"permission": {Source{ReadFile: refuse(fs.ErrPermission)}, "worker.yaml: can't be read: read: open worker.yaml: permission denied"},
	} {
		// Nothing that the file might hold is reported as missing.
		test.src.ToRun = true
		_, err := Load(test.src)
		require.EqualError(t, err, test.want+"; make it readable, or name another file with --config or PASSCODE_CONFIG", name)
	}
}

func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	src := source(`nats:
  url: http://127.0.0.1:4222
  replikas: 3
worker:
  concurrency: many
  passcode_ttl: -1s
aliyun:
  access_key_id: <access-key-id>
`)
	src.Env = []string{"PASSCODE_LOG__LEVEL=loud", "PASSCODE_WORKER_ACK_WAIT=1s"}
	src.Set = []string{"retry.multiplier=0.5"}
	_, err := Load(src)
	listed(t, err)
	assert.Equal(t, strings.TrimSpace(`
nats.replikas: is no setting; did you mean nats.replicas? (worker.yaml line 3)
PASSCODE_WORKER_ACK_WAIT: is no setting; did you mean PASSCODE_WORKER__ACK_WAIT? (environment)
worker.concurrency: must be a whole number, 0 or more; write digits alone, such as 10 (worker.yaml line 5)
worker.passcode_ttl: must be a duration longer than 0; write a number and its unit, such as 500ms, 30s, 10m or 24h (worker.yaml line 6)
aliyun.access_key_id: holds the placeholder of an example; write the real value (worker.yaml line 8)
nats.url: must hold URLs of the schemes nats, tls, ws or wss; write for instance nats://127.0.0.1:4222 (worker.yaml line 2)
retry.multiplier: must be at least 1, is 0.5: intervals would shrink; write 1 or more, such as 2 (--set retry.multiplier)
log.level: must be one of debug, info, warn, error; write one of them (environment variable PASSCODE_LOG__LEVEL)
`), err.Error())
}

func TestOneMistakeIsReportedOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"misspelt, and so missing":       {"aliyun: {sign_nam: S, templates: [{usage_type: Generic, template_code: C}]}", "aliyun.sign_nam"},
		"a misspelt list":                {"aliyun: {sign_name: S, template: [{usage_type: Generic, template_code: C}]}", "aliyun.template"},
		"not a list":                     {"aliyun: {sign_name: S, templates: SMS_1}", "aliyun.templates"},
		"not a section":                  {"aliyun: SMS_1", "aliyun"},
		"not an entry":                   {"aliyun: {sign_name: S, templates: [SMS_1, {usage_type: Generic, template_code: C}]}", "aliyun.templates[0]"},
		"entry with a misspelt member":   {"aliyun: {sign_name: S, templates: [{usageType: Generic, template_code: C}]}", "aliyun.templates[0].usageType"},
		"entry without code":             {"aliyun: {sign_name: S, templates: [{usage_type: Generic}]}", "aliyun.templates[0].template_code"},
		"secret of no use":               {sendable + "  access_key_id: LTAI5t\n  access_key_secret: <access-key-secret>\n", "aliyun.access_key_secret"},
		"a rule over a value not read":   {sendable + "worker: {ack_wait: soon}", "worker.ack_wait"},
		"a rule over a value refused":    {sendable + "retry: {max_interval: -1s}", "retry.max_interval"},
		"reply subject of a wrong shape": {sendable + "results: {reply_subjects: [{a: b}]}", "results.reply_subjects[0]"},
	} {
		src := source(test.text)
		src.ToRun = true
		_, err := Load(src)
		assert.Equal(t, []string{test.want}, keysOf(listed(t, err)), name)
	}
}

// TestWhatOnlyRunNeeds is named as such, and no other command misses it.
func TestWhatOnlyRunNeeds(t *testing.T) {
	t.Parallel()
	const needed = " (worker run needs it); "
	const (
		sign     = "aliyun.sign_name: is missing" + needed + "write the approved signature, or give each template its sign_name"
		template = "aliyun.templates: must hold one with usage_type Generic, which stands in for every other" + needed + "add {usage_type: Generic, template_code: CODE}"
		id       = "aliyun.access_key_id: must be set together with aliyun.access_key_secret" + needed + "set both, or neither for the credentials of the machine"
		secret   = "aliyun.access_key_secret: must be set together with aliyun.access_key_id" + needed + "set both, or neither for the credentials of the machine"
		token    = "aliyun.security_token: must be set together with aliyun.access_key_id and aliyun.access_key_secret" + needed + "set all three, or none (worker.yaml line 5)"
	)
	for text, want := range map[string]string{
		"":                       sign + "\n" + template,
		"aliyun: {sign_name: S}": template,
		"aliyun: {templates: [{usage_type: Generic, template_code: C}]}":               sign,
		"aliyun: {templates: [{usage_type: Generic, template_code: C, sign_name: T}]}": "",
		"aliyun: {sign_name: S, templates: [{usage_type: SignIn, template_code: C}]}":  template + " (worker.yaml line 1)",
		"aliyun: {sign_name: S, templates: [{usage_type: generic, template_code: C}]}": template + " (worker.yaml line 1)",
		sendable:                                   "",
		sendable + "  access_key_id: LTAI5t\n":     secret,
		sendable + "  access_key_secret: s3cret\n": id,
		sendable + "  security_token: s3cret\n":    token,
		sendable + "  access_key_id: LTAI5t\n  access_key_secret: s3cret\n  security_token: s3cret\n": "",
	} {
		src := source(text)
		_, err := Load(src)
		require.NoError(t, err, text)
		src.ToRun = true
		if _, err = Load(src); want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.EqualError(t, err, want)
		src.Set = []string{"log.level=loud"}
		_, err = Load(src)
		assert.ErrorContains(t, err, want, "a mistake hides nothing of it")
	}
}

// TestMissingGeneric is reported whatever else is wrong with the templates,
// unless one was meant for it.
func TestMissingGeneric(t *testing.T) {
	t.Parallel()
	for templates, want := range map[string][]string{
		"[{template_code: C}]":                                         {"[0].usage_type", ""},
		"[{usage_type: '', template_code: C}]":                         {"[0].usage_type", ""},
		"[{usage_type: A}]":                                            {"[0].template_code", ""},
		"[{usage_type: A, template_code: C, typ: 2}]":                  {"[0].typ", ""},
		"[{usagetype: A, template_code: C}]":                           {"[0].usagetype", ""},
		"[{usagetype: Generic, template_code: C}]":                     {"[0].usagetype"},
		"[{usage_type: [Generic], template_code: C}]":                  {"[0].usage_type"},
		"[{usage_type: A, template_code: C, params: x}]":               {"[0].params", ""},
		"[{usage_type: Generic}, {usage_type: [A], template_code: C}]": {"[0].template_code", "[1].usage_type"},
		"SMS_1": {""},
	} {
		src := source("aliyun: {sign_name: S, templates: " + templates + "}")
		src.ToRun = true
		_, err := Load(src)
		for i := range want {
			want[i] = "aliyun.templates" + want[i]
		}
		assert.ElementsMatch(t, want, keysOf(listed(t, err)), "%s: %s", templates, err)
	}
}

// TestUsable: what a command may still rest on beside an error.
func TestUsable(t *testing.T) {
	t.Parallel()
	elsewhere := withEnv(source("{"), map[string]string{"nats.url": "nats://10.0.0.1"})
	for _, test := range []struct {
		name             string
		src              Source
		usable, unusable []string // keys with commas belong together
	}{
		{"nothing wrong", source("log: {level: info}\n"), []string{"log.level", "nats.url"}, nil},
		{"a bad value", source("nats: {url: bad://}\n"), []string{"nats.creds", "jobs.stream"}, []string{"nats.url", "nats.creds,nats.url"}},
		{"a value of the wrong type", source("jobs: {max_bytes: many}\n"), []string{"jobs.stream"}, []string{"jobs.max_bytes"}},
		{"a bad section", source("jobs: many\n"), []string{"nats.url"}, []string{"jobs.stream", "jobs.max_bytes"}},
		{"a misspelt name", source("jobs: {straem: X}\n"), []string{"jobs.subject"}, []string{"jobs.stream"}},
		{"a bad member of a list", source("results: {reply_subjects: [\"$JS.>\"]}\n"), []string{"results.subject"}, []string{"results.reply_subjects"}},
		{"an unreadable file", source("{"), nil, []string{"nats.url", "jobs.stream"}},
		{"and the environment", elsewhere, []string{"nats.url", "nats.creds,nats.url"}, []string{"aliyun.endpoint", "jobs.subject"}},
	} {
		_, err := Load(test.src)
		var problems *Errors
		errors.As(err, &problems)
		for _, key := range test.usable {
			assert.True(t, problems.Usable(strings.Split(key, ",")...), "%s: %s", test.name, key)
		}
		for _, key := range test.unusable {
			assert.False(t, problems.Usable(strings.Split(key, ",")...), "%s: %s", test.name, key)
		}
	}
	_, err := Load(source("nats: {url: bad://}\n"))
	var problems *Errors
	require.ErrorAs(t, err, &problems)
	assert.True(t, problems.Concern("nats.url"))
	assert.False(t, problems.Concern("nats.creds"))
}
