package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRules: each row breaks one rule, and the problem names the key that is to
// be changed.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ set, key, problem string }{
		{"nats.url=", "nats.url", "must not be empty"},
		{"nats.url=nats://a,,nats://b", "nats.url", "must not hold an empty entry"},
		{"nats.url=http://a", "nats.url", "must hold URLs of the schemes nats, tls, ws or wss"},
		{"nats.url=nats://", "nats.url", "must name a host in each URL"},
		{"nats.url=nats://:4222", "nats.url", "must name a host in each URL"},
		{"nats.url=nats://a:0", "nats.url", "must hold ports from 1 to 65535"},
		{"nats.url=nats://a:x", "nats.url", "must hold URLs like nats://host:4222, separated by commas"},
		{"nats.url=nats://a/b", "nats.url", "must hold nothing after host and port"},
		{"nats.url=nats://a?b", "nats.url", "must hold nothing after host and port"},
		{"nats.url=ws://a,nats://b", "nats.url", "must not mix ws or wss with other schemes"},
		{`nats={"creds":"/c","token":"t"}`, "nats.creds", "must be the only kind of authentication, beside it there is nats.token"},
		{`nats={"nkey_seed_file":"/n","user":"u","password":"p"}`, "nats.nkey_seed_file", "must be the only kind of authentication, beside it there is nats.user"},
		{`nats={"creds":"/c","nkey_seed_file":"/n","token":"t"}`, "nats.creds", "must be the only kind of authentication, beside it there is nats.nkey_seed_file and nats.token"},
		{`nats={"url":"nats://u:p@h","token":"t"}`, "nats.token", "must be the only kind of authentication, beside it there is credentials in nats.url"},
		{"nats.user=u", "nats.password", "must be set together with nats.user"},
		{"nats.password=p", "nats.user", "must be set together with nats.password"},
		{"nats.tls.cert=/c", "nats.tls.key", "must be set together with nats.tls.cert"},
		{"nats.tls.key=/k", "nats.tls.cert", "must be set together with nats.tls.key"},
		{"nats.replicas=0", "nats.replicas", "must be 1, 3 or 5, is 0"},
		{"nats.replicas=2", "nats.replicas", "must be 1, 3 or 5, is 2"},
		{`nats={"replicas":3,"embedded":{"enabled":true}}`, "nats.replicas", "must be 1 with nats.embedded.enabled, is 3: the embedded server is alone"},
		{"nats.embedded.listen=4222", "nats.embedded.listen", "must be host:port"},
		{`nats.embedded={"enabled":true,"listen":""}`, "nats.embedded.listen", "must be host:port"},
		{`nats.embedded={"enabled":true,"store_dir":""}`, "nats.embedded.store_dir", "must not be empty"},

		{"jobs.stream=", "jobs.stream", "must not be empty"},
		{"jobs.stream=A.B", "jobs.stream", `must be at most 250 bytes without spaces . * > / \`},
		{"jobs.stream=A B", "jobs.stream", `must be at most 250 bytes without spaces . * > / \`},
		{"jobs.stream=" + strings.Repeat("A", 251), "jobs.stream", `must be at most 250 bytes without spaces . * > / \`},
		{"jobs.consumer=a*", "jobs.consumer", `must be at most 250 bytes without spaces . * > / \`},
		{"results.bucket=a.b", "results.bucket", "must be at most 250 of A-Z a-z 0-9 _ -"},
		{"limits.bucket=ä", "limits.bucket", "must be at most 250 of A-Z a-z 0-9 _ -"},
		{"limits.bucket=", "limits.bucket", "must not be empty"},
		{"dead_letters.stream=PASSCODE", "dead_letters.stream", "must not name the stream of jobs.stream"},
		{"limits.bucket=passcode-requests", "limits.bucket", "must not name the stream of results.bucket"},
		{"jobs.stream=KV_passcode-limits", "limits.bucket", "must not name the stream of jobs.stream"},
		{"jobs.subject=", "jobs.subject", "must not be empty"},
		{"jobs.subject=passcode.>", "jobs.subject", "must be a subject of at most 128 bytes without wildcards, spaces or empty tokens"},
		{"jobs.subject=a..b", "jobs.subject", "must be a subject of at most 128 bytes without wildcards, spaces or empty tokens"},
		{"results.subject=a b", "results.subject", "must be a subject of at most 128 bytes without wildcards, spaces or empty tokens"},
		{"jobs.subject=$JS.API.x", "jobs.subject", "must not begin with a token that NATS keeps for itself"},
		{"dead_letters.subject=_INBOX.x", "dead_letters.subject", "must not begin with a token that NATS keeps for itself"},
		{"results.subject=passcode", "results.subject", "must not overlap jobs.subject"},
		{"jobs.subject=passcode.dead.x", "dead_letters.subject", "must not overlap jobs.subject"},
		{"dead_letters.subject=passcode.result.dead", "dead_letters.subject", "must not overlap results.subject"},
		{"dead_letters.subject=passcode.result", "dead_letters.subject", "must not overlap results.subject"},
		{`results.reply_subjects=["a.>.b"]`, "results.reply_subjects[0]", "must be a subject or a pattern with * and >"},
		{`results.reply_subjects=["a", ""]`, "results.reply_subjects[1]", "must be a subject or a pattern with * and >"},
		{`results.reply_subjects=["a b"]`, "results.reply_subjects[0]", "must be a subject or a pattern with * and >"},
		{`results.reply_subjects=[">"]`, "results.reply_subjects[0]", "must not reach NATS's own subjects: a job could have its result written there"},
		{`results.reply_subjects=["*.API.>"]`, "results.reply_subjects[0]", "must not reach NATS's own subjects: a job could have its result written there"},
		{`results.reply_subjects=["$KV.x.y"]`, "results.reply_subjects[0]", "must not reach the buckets: a job could have its result written there"},
		{`results.reply_subjects=["passcode.*"]`, "results.reply_subjects[0]", "must not reach jobs.subject: a job could have its result written there"},
		{`results.reply_subjects=["passcode.dead.*.x"]`, "results.reply_subjects[0]", "must not reach dead_letters.subject: a job could have its result written there"},

		{"jobs.max_bytes=0", "jobs.max_bytes", "must be at least 1, is 0"},
		{"jobs.max_bytes=-1", "jobs.max_bytes", "must be at least 1, is -1"},
		{"jobs.duplicate_window=0s", "jobs.duplicate_window", "must be longer than 0, is 0s"},
		{"jobs.duplicate_window=10ms", "jobs.duplicate_window", "must be at least 100ms, is 10ms"},
		{"results.retention=-1h", "results.retention", "must be longer than 0, is -1h"},
		{"results.retention=5m", "results.retention", "must be at least worker.passcode_ttl (10m), is 5m: a job may wait that long and must find its record"},
		{"jobs.duplicate_window=25h", "results.retention", "must be at least jobs.duplicate_window (25h), is 24h: a repeated job must find its record"},
		{"dead_letters.retention=1ms", "dead_letters.retention", "must be at least 100ms, is 1ms"},
		{"worker.concurrency=0", "worker.concurrency", "must be at least 1, is 0"},
		{"worker.passcode_ttl=0s", "worker.passcode_ttl", "must be longer than 0, is 0s"},
		{"worker.ack_wait=0s", "worker.ack_wait", "must be longer than 0, is 0s"},
		{"worker.max_interruptions=0", "worker.max_interruptions", "must be at least 1, is 0"},
		{"worker.shutdown_timeout=0s", "worker.shutdown_timeout", "must be longer than 0, is 0s"},
		{"retry.initial_interval=0s", "retry.initial_interval", "must be longer than 0, is 0s"},
		{"retry.multiplier=0.9", "retry.multiplier", "must be at least 1, is 0.9: intervals would shrink"},
		{"retry.randomization_factor=1.1", "retry.randomization_factor", "must be from 0 to 1, is 1.1"},
		{"retry.randomization_factor=-0.1", "retry.randomization_factor", "must be from 0 to 1, is -0.1"},
		{"retry.max_interval=100ms", "retry.max_interval", "must be at least retry.initial_interval (500ms), is 100ms"},
		{"retry.max_attempts=0", "retry.max_attempts", "must be at least 1, is 0"},

		{`limits.phone=["0/1m"]`, "limits.phone[0]", "must allow at least 1 in a window of at least 1s, is 0/1m"},
		{`limits.phone=["1/1m","5/-1h"]`, "limits.phone[1]", "must allow at least 1 in a window of at least 1s, is 5/-1h"},
		{`limits.phone=["1001/1h"]`, "limits.phone[0]", "must allow at most 1000 in a window of at most 744h, is 1001/1h"},
		{`limits.phone=["5/745h"]`, "limits.phone[0]", "must allow at most 1000 in a window of at most 744h, is 5/745h"},
		{`limits.phone=["5/1h","1/1m"]`, "limits.phone", "must go from the shortest window to the longest"},
		{`limits.phone=["1/1m","5/60s"]`, "limits.phone[1]", "has the same window as the rule before it"},

		{"aliyun.endpoint=", "aliyun.endpoint", "must not be empty"},
		{"aliyun.endpoint=https://dysmsapi.aliyuncs.com", "aliyun.endpoint", "must be host or host:port, without scheme or path"},
		{"aliyun.endpoint=dysmsapi.aliyuncs.com/", "aliyun.endpoint", "must be host or host:port, without scheme or path"},
		{"aliyun.endpoint=a:b@c", "aliyun.endpoint", "must be host or host:port, without scheme or path"},
		{"aliyun.endpoint=host:", "aliyun.endpoint", "must be host or host:port, without scheme or path"},
		{"aliyun.endpoint=host:70000", "aliyun.endpoint", "must be host or host:port, without scheme or path"},
		{"aliyun.endpoint=a,b", "aliyun.endpoint", "must be host or host:port, without scheme or path"},
		{"aliyun.protocol=ftp", "aliyun.protocol", "must be one of http, https"},
		{"aliyun.access_key_id=<access-key-id>", "aliyun.access_key_id", "holds the placeholder of an example"},
		{"aliyun.access_key_secret=<access-key-secret>", "aliyun.access_key_secret", "holds the placeholder of an example"},
		{"aliyun.sign_name=<sign-name>", "aliyun.sign_name", "holds the placeholder of an example"},
		{"aliyun.access_key_id=LTAI****", "aliyun.access_key_id", "holds the mask **** that stands for a secret in printed settings"},
		{"nats.token=****", "nats.token", "holds the mask **** that stands for a secret in printed settings"},
		{"nats.url=nats://a:****@b", "nats.url", "holds the mask **** that stands for a secret in printed settings"},
		{"aliyun.connect_timeout=0s", "aliyun.connect_timeout", "must be longer than 0, is 0s"},
		{"aliyun.timeout=-5s", "aliyun.timeout", "must be longer than 0, is -5s"},
		{"aliyun.max_qps=-1", "aliyun.max_qps", "must be 0 or more, is -1"},
		{"aliyun.in_doubt.lookups=[]", "aliyun.in_doubt.lookups", "must hold at least one time"},
		{`aliyun.in_doubt.lookups=["0s","9s"]`, "aliyun.in_doubt.lookups[0]", "must be longer than 0, is 0s"},
		{`aliyun.in_doubt.lookups=["9s","8s"]`, "aliyun.in_doubt.lookups", "must go up, each later than the one before"},
		{`aliyun.in_doubt.lookups=["9s","9s"]`, "aliyun.in_doubt.lookups", "must go up, each later than the one before"},

		{"http.listen=8080", "http.listen", "must be host:port"},
		{"http.listen=http://127.0.0.1:8080", "http.listen", "must be host:port"},
		{"http.listen=127.0.0.1:http", "http.listen", "must be host:port"},
		{"http.listen=127.0.0.1:65536", "http.listen", "must be host:port"},
		{`nats.embedded={"enabled":true,"listen":"127.0.0.1:8080"}`, "http.listen", "must not be nats.embedded.listen: one of the two servers could not start"},
		{"log.level=trace", "log.level", "must be one of debug, info, warn, error"},
		{"log.format=xml", "log.format", "must be one of json, text"},
	} {
		t.Run(test.set, func(t *testing.T) {
			t.Parallel()
			_, err := Load(set(test.set))
			problems := listed(t, err)
			require.Len(t, problems, 1, "%s", err)
			assert.Equal(t, test.key, problems[0].Key)
			assert.Equal(t, test.problem, problems[0].Problem)
			setting, _, _ := strings.Cut(test.key, "[")
			assert.True(t, known.leaves[setting])
			if strings.HasPrefix(test.set, setting+"=") {
				assert.Equal(t, "--set "+setting, problems[0].Source)
			}
		})
	}
}

// TestNearMisses are at the edge of a rule, and right.
func TestNearMisses(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{
		"nats.url=127.0.0.1:4222", "nats.url=nats://a, nats://b:4222", "nats.url=ws://a,wss://b:443", "nats.url=tls://u:p@[::1]:4222/",
		`nats={"user":"u","password":"p"}`, `nats.tls={"cert":"/c","key":"/k"}`, "nats.tls.ca=/ca", "nats.replicas=5",
		`nats.embedded={"enabled":false,"listen":"","store_dir":""}`, `nats.embedded={"enabled":true,"listen":":0"}`,
		"jobs.stream=Ä-1_x", "jobs.subject=passcode", "results.subject=passcode.results", "dead_letters.subject=dead",
		`results.reply_subjects=[]`, `results.reply_subjects=["app.*.result","_INBOX.>"]`,
		"jobs.max_bytes=1", "jobs.duplicate_window=100ms", "results.retention=10m", "worker.ack_wait=5001ms",
		"retry.multiplier=1", "retry.randomization_factor=0", "retry.randomization_factor=1", "retry.max_interval=500ms", "retry.max_attempts=1",
		"limits.phone=[]", `limits.phone=["1/1s"]`, `limits.phone=["1000/744h"]`, `limits.phone=["9/1m","5/1h"]`,
		"aliyun.endpoint=127.0.0.1:9080", "aliyun.endpoint=[::1]:9080", "aliyun.protocol=HTTP", "aliyun.in_doubt.lookups=[\"5001ms\"]",
		"http.listen=", "http.listen=:8080", "http.listen=localhost:0", "log.level=INFO", "log.format=TEXT",
	} {
		_, err := Load(set(setting))
		assert.NoError(t, err, setting)
	}
	_, err := Load(set(`nats.embedded={"enabled":true,"listen":"127.0.0.1:0"}`, "http.listen=127.0.0.1:0"))
	require.NoError(t, err, "two servers may both have their ports chosen")
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for setting, want := range map[string]string{
		"worker.ack_wait=9s":                              "worker.ack_wait: is less than twice aliyun.timeout: a slow broker beside a slow call may give the job to another worker",
		`aliyun.in_doubt.lookups=["1s","5s"]`:             "aliyun.in_doubt.lookups: ends no later than aliyun.timeout: after a call that times out nothing is waited for before it is sent again",
		"worker.shutdown_timeout=4s":                      "worker.shutdown_timeout: is shorter than aliyun.timeout: a worker that stops may leave calls in doubt",
		"limits.phone=[]":                                 "limits.phone: is empty: nothing but Aliyun's own limits keeps a phone from being flooded",
		`limits.phone=["9/1m","5/1h"]`:                    "limits.phone[0]: never applies, since the rule after it allows no more in a longer window",
		"limits.key=s3cret":                               "limits.key: is shorter than 16 characters: numbers could be found out by trying keys",
		"aliyun.protocol=http":                            "aliyun.protocol: is http to a host that is not this machine: phone numbers and passcodes travel in the clear",
		"worker.passcode_ttl=30s":                         "aliyun.in_doubt.lookups: ends after worker.passcode_ttl: a passcode expires before a doubtful send is settled",
		"limits.key=0123456789abcdef":                     "",
		"aliyun.endpoint=localhost:9080":                  "",
		`aliyun={"protocol":"http","endpoint":"[::1]:1"}`: "",
		`aliyun.templates=[{"usage_type":"A","template_code":"1"},{"usage_type":"A","template_code":"2"}]`:                   "aliyun.templates[1]: has the usage type of aliyun.templates[0], which is the one that is used",
		`aliyun.templates=[{"usage_type":"A","template_code":"1","params":["code","x"]}]`:                                    "aliyun.templates[0].params[0]: is always sent and need not be listed",
		`aliyun.templates=[{"usage_type":"A","template_code":"1"},{"usage_type":"a","template_code":"2","params":["Code"]}]`: "",
	} {
		got, err := Load(set(setting))
		require.NoError(t, err, setting)
		assert.Equal(t, want, strings.Join(got.Warnings, "\n"), setting)
		assert.NotContains(t, strings.Join(got.Warnings, "\n"), "s3cret")
	}
}

func TestToRun(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                       {"aliyun.sign_name", "aliyun.templates"},
		"aliyun: {sign_name: S}": {"aliyun.templates"},
		"aliyun: {templates: [{usage_type: Generic, template_code: C}]}":               {"aliyun.sign_name"},
		"aliyun: {templates: [{usage_type: Generic, template_code: C, sign_name: T}]}": nil,
		"aliyun: {sign_name: S, templates: [{usage_type: SignIn, template_code: C}]}":  {"aliyun.templates"},
		"aliyun: {sign_name: S, templates: [{usage_type: generic, template_code: C}]}": {"aliyun.templates"},
		sendable:                                   nil,
		sendable + "  access_key_id: LTAI5t\n":     {"aliyun.access_key_secret"},
		sendable + "  access_key_secret: s3cret\n": {"aliyun.access_key_id"},
		sendable + "  security_token: s3cret\n":    {"aliyun.security_token"},
		sendable + "  access_key_id: LTAI5t\n  access_key_secret: s3cret\n  security_token: s3cret\n": nil,
	} {
		src := source(text)
		_, err := Load(src)
		require.NoError(t, err, "a command that does not send needs none of it: %s", text)
		src.ToRun = true
		if _, err = Load(src); want == nil {
			require.NoError(t, err, text)
			continue
		}
		assert.Equal(t, want, keysOf(listed(t, err)), text)
		assert.NotContains(t, err.Error(), "s3cret")
	}
}

func TestValidateAfterLoad(t *testing.T) {
	t.Parallel()
	cfg := Default()
	require.NoError(t, cfg.Validate())
	cfg.Worker.Concurrency, cfg.HTTP.Listen, cfg.NATS.URL = 0, "x", NewServerURLs("http://u:s3cret@h")
	err := cfg.Validate()
	assert.Equal(t, []string{"nats.url", "worker.concurrency", "http.listen"}, keysOf(listed(t, err)))
	assert.NotContains(t, err.Error(), "s3cret")
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	a := Aliyun{Templates: []Template{
		{UsageType: "SignIn", SignName: "first"}, {UsageType: "SignIn", SignName: "second"}, {UsageType: "Generic", SignName: "generic"},
	}}
	for usageType, want := range map[string]string{"SignIn": "first", "signin": "generic", "Generic": "generic", "": "generic"} {
		got, ok := a.Template(usageType)
		assert.True(t, ok)
		assert.Equal(t, want, got.SignName, "%q", usageType)
	}
	a.Templates = a.Templates[:2]
	_, ok := a.Template("Other")
	assert.False(t, ok)
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for pair, want := range map[[2]string]bool{
		{"a", "a"}: true, {"a", "b"}: false, {"a.>", "a"}: false, {"a.>", "a.b.c"}: true, {">", "a"}: true, {"a.*", "a.b"}: true,
		{"a.*", "a.b.c"}: false, {"*.b", "a.*"}: true, {"a.*.c", "a.b.>"}: true, {"a.b", "a.b.c"}: false,
	} {
		assert.Equal(t, want, overlap(pair[0], pair[1]), "%v", pair)
		slices.Reverse(pair[:])
		assert.Equal(t, want, overlap(pair[0], pair[1]), "%v", pair)
	}
}
