package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFileSyntax holds every refusal of a file to the line that it names.
func TestFileSyntax(t *testing.T) {
	t.Parallel()
	const (
		notYAML   = "worker.yaml: is not YAML; look at the line and the one before it: indentation with spaces and without tabs, a colon with a space after it, quotes around special characters, UTF-8"
		section   = "must be a section; write its settings beneath it, each as key: value; they are "
		all       = "nats, jobs, results, dead_letters, worker, retry, limits, aliyun, http, log"
		noSetting = ": is no setting; remove it; config/worker.yaml lists every setting"
		literal   = ": uses an alias or a tag of YAML, which settings don't allow; write the value itself"
		plainName = ": holds a key that is no plain name; write each setting out as key: value"
	)
	for name, test := range map[string]struct{ text, want string }{
		"tab":                 {"nats:\n\turl: x\n", notYAML + " (worker.yaml line 2)"},
		"duplicate key":       {"log: {level: info}\nlog: {format: json}\n", "log: is set twice; keep one of the two (worker.yaml line 2)"},
		"duplicate below":     {"log:\n  level: info\n  level: warn\n", "log.level: is set twice; keep one of the two (worker.yaml line 3)"},
		"no section":          {"log: x\n", "log: " + section + "level, format (worker.yaml line 1)"},
		"a list":              {"- nats\n", "settings: " + section + all + " (worker.yaml line 1)"},
		"a text":              {"s3cret\n", "settings: " + section + all + " (worker.yaml line 1)"},
		"section for a value": {"log: {level: {a: b}}\n", `log.level: must be a text; write one value, in quotes where it holds special characters; "" for none (worker.yaml line 1)`},
		"unknown":             {"\nnatz:\n  url: s3cret\n", "natz" + noSetting + " (worker.yaml line 2)"},
		"unknown below":       {"nats:\n  server: s3cret\n", "nats.server" + noSetting + " (worker.yaml line 2)"},
		"dotted":              {"log.level: s3cret\n", "log.level" + noSetting + " (worker.yaml line 1)"},
		"no space":            {"nats:\n  password:s3cret: x\n", "nats.password…" + noSetting + " (worker.yaml line 2)"},
		"alias":               {"log:\n  level: &a info\n  format: *a\n", "log.format" + literal + " (worker.yaml line 3)"},
		"merge key":           {"log:\n  <<: {level: s3cret}\n", "log" + plainName + " (worker.yaml line 2)"},
		"tag":                 {"log:\n  level: !!binary aW5mbw==\n", "log.level" + literal + " (worker.yaml line 2)"},
		"list as a key":       {"? [a]\n: b\n", "settings" + plainName + " (worker.yaml line 1)"},
		"two documents":       {"log:\n---\nnats:\n", "worker.yaml: holds more than one YAML document; remove the lines ---, or split the file"},
		"unknown anchor":      {"nats:\n  password: *s3cret\n", notYAML},
		"not UTF-8":           {"log: {level: \xff}\n", notYAML},
	} {
		src := source(test.text)
		_, err := Load(src)
		require.Error(t, err, name)
		assert.Equal(t, test.want, err.Error(), name)
	}
}

func TestBrokenYAML(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"log: [\n", "log: {level: info\n", "log:\n  level: \"s3cret\n", "a: b: s3cret\n", "log:\n level: info\n  format: json\n",
		"log: %s3cret\n", "@s3cret\n", "log: 's3cret\n", "\x00", "---\n---\n: [", "%TAG s3cret\n---\n",
	} {
		_, err := Load(source(text))
		problems := listed(t, err)
		assert.Equal(t, []string{"worker.yaml"}, keysOf(problems), "%q", text)
		assert.NotContains(t, err.Error(), "s3cret", "%q", text)
	}
}

func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	for variable, want := range map[string]string{
		"PASSCODE_NATS_URL=s3cret":          "PASSCODE_NATS_URL: is no setting; did you mean PASSCODE_NATS__URL? (environment)",
		"PASSCODE_NATS__URLS=s3cret":        "PASSCODE_NATS__URLS: is no setting; did you mean PASSCODE_NATS__URL? (environment)",
		"PASSCODE_nats__url=s3cret":         "PASSCODE_nats__url: is no setting; did you mean PASSCODE_NATS__URL? (environment)",
		"PASSCODE_ALIYUN__SECRET=s3cret":    "PASSCODE_ALIYUN__SECRET: is no setting; remove it; config/worker.yaml lists every setting (environment)",
		"PASSCODE_=s3cret":                  "PASSCODE_: is no setting; remove it; config/worker.yaml lists every setting (environment)",
		"PASSCODE_CONFIGS=s3cret":           "PASSCODE_CONFIGS: is no setting; remove it; config/worker.yaml lists every setting (environment)",
		"PASSCODE_FOO":                      "PASSCODE_FOO: is no setting; remove it; config/worker.yaml lists every setting (environment)",
		"PASSCODE_LIMITS__PHONE=5/1h":       `limits.phone: must be JSON; write a section as {"key":"value"}, a list as ["a","b"] (environment variable PASSCODE_LIMITS__PHONE)`,
		"PASSCODE_LIMITS__PHONE=":           `limits.phone: must be JSON; write a section as {"key":"value"}, a list as ["a","b"] (environment variable PASSCODE_LIMITS__PHONE)`,
		"PASSCODE_LIMITS__PHONE=[5/1h]":     `limits.phone: must be JSON; write a section as {"key":"value"}, a list as ["a","b"] (environment variable PASSCODE_LIMITS__PHONE)`,
		`PASSCODE_LIMITS__PHONE="5/1h"`:     `limits.phone: must be a list; write [a, b], or one entry a line with - before it (environment variable PASSCODE_LIMITS__PHONE)`,
		"PASSCODE_NATS=s3cret":              `nats: must be JSON; write a section as {"key":"value"}, a list as ["a","b"] (environment variable PASSCODE_NATS)`,
		`PASSCODE_NATS={"a":1,"url":"x"}`:   "nats.a: is no setting; remove it; config/worker.yaml lists every setting (environment variable PASSCODE_NATS)",
		`PASSCODE_LOG={"level":1} {}`:       `log: must be JSON; write a section as {"key":"value"}, a list as ["a","b"] (environment variable PASSCODE_LOG)`,
		"PASSCODE_WORKER__CONCURRENCY=":     "worker.concurrency: must be a whole number, 0 or more; write digits alone, such as 10 (environment variable PASSCODE_WORKER__CONCURRENCY)",
		"PASSCODE_NATS__PASSWORD=s3cret\n":  "nats.password: must not hold line breaks, invisible characters or what is no UTF-8; remove them, also at the end of the value (environment variable PASSCODE_NATS__PASSWORD)",
		"PASSCODE_NATS__USER=\xff":          "nats.user: must not hold line breaks, invisible characters or what is no UTF-8; remove them, also at the end of the value (environment variable PASSCODE_NATS__USER)",
		"PASSCODE_NATS__TOKEN=s3cret\u200b": "nats.token: must not hold line breaks, invisible characters or what is no UTF-8; remove them, also at the end of the value (environment variable PASSCODE_NATS__TOKEN)",
		"PASSCODE_NATS__TOKEN= s3cret":      "nats.token: must not begin or end with white space; remove it (environment variable PASSCODE_NATS__TOKEN)",
	} {
		src := source("")
		src.Env = []string{"HOME=/", variable}
		_, err := Load(src)
		assert.EqualError(t, err, want, "%q", variable)
	}
}

// TestServiceLinks: what Kubernetes adds for services named passcode-worker and
// passcode must not keep the worker from starting.
func TestServiceLinks(t *testing.T) {
	t.Parallel()
	src := source("")
	for _, service := range []string{"PASSCODE_WORKER", "PASSCODE", "PASSCODE_NATS_HEADLESS"} {
		for _, link := range []string{
			"SERVICE_HOST=10.0.0.11", "SERVICE_PORT=8080", "SERVICE_PORT_HTTP=8080", "PORT=tcp://10.0.0.11:8080",
			"PORT_8080_TCP=tcp://10.0.0.11:8080", "PORT_8080_TCP_PROTO=tcp", "PORT_8080_TCP_PORT=8080", "PORT_53_UDP_ADDR=10.0.0.11",
		} {
			src.Env = append(src.Env, service+"_"+link)
		}
	}
	_, err := Load(src)
	require.NoError(t, err)

	src.Env = []string{"PASSCODE_WORKER__PORT=8080", "PASSCODE_WORKER_PORT_X=1"}
	_, err = Load(src)
	assert.Len(t, listed(t, err), 2)
}

func TestSetFlags(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"s3cret":           "--set: must be key=value; write for instance --set log.level=debug",
		"log.levl=s3cret":  "log.levl: is no setting; did you mean log.level? (--set)",
		"bucket=s3cret":    "bucket: is no setting; remove it; config/worker.yaml lists every setting (--set)",
		"accessKeyId=x":    "accessKeyId: is no setting; remove it; config/worker.yaml lists every setting (--set)",
		"nats.natsUrl=x":   "nats.natsUrl: is no setting; remove it; config/worker.yaml lists every setting (--set)",
		"=s3cret":          "…: is no setting; remove it; config/worker.yaml lists every setting (--set)",
		"log.level=":       "log.level: must be one of debug, info, warn, error; write one of them (--set log.level)",
		"worker=1":         "worker: must be a section; write its settings beneath it, each as key: value; they are concurrency, passcode_ttl, ack_wait, max_interruptions, shutdown_timeout (--set worker)",
		"limits.phone[0]=": "limits.phone[0]: is no setting; did you mean limits.phone? (--set)",
		strings.Repeat("a", 200) + "=1": strings.Repeat("a", 64) +
			"…: is no setting; remove it; config/worker.yaml lists every setting (--set)",
	} {
		_, err := Load(set(flag))
		assert.EqualError(t, err, want, "%q", flag)
	}
}

// TestWrongTypes gives each setting, in each source, values of other types.
func TestWrongTypes(t *testing.T) {
	t.Parallel()
	for path, wrong := range map[string][]string{
		"nats.url":                   {"[a]", "{a: b}"},
		"nats.password":              {"[s3cret]", "{s3cret: s3cret}"},
		"nats.provision":             {"1", "yes", `""`, "[true]", "TRUE"},
		"nats.replicas":              {"1.5", "0x1", "one", "[1]", `""`, "99999999999"},
		"jobs.max_bytes":             {"big", "[1GiB]", "1.5GiB", `""`},
		"jobs.duplicate_window":      {"2", "two", "2 m", "[2m]", "1d", `""`, "99999999999h"},
		"results.reply_subjects":     {"a", "{a: b}", "[[a]]", "[~]"},
		"retry.multiplier":           {"two", "[2]", ".nan", "NaN", ".inf", "Inf", "1e999", `""`},
		"limits.phone":               {"5/1h", "{a: b}", "[5]", "[5/1d]", "[[5/1h]]", "[~]"},
		"aliyun.templates":           {"C", "{a: b}", "[C]", "[~]", "[{}]", "[[]]"},
		"aliyun.in_doubt.lookups":    {"5s", "[5]", "[~]", "[[5s]]"},
		"aliyun.in_doubt.resend":     {"maybe"},
		"aliyun.strict_phone_region": {"true"},
	} {
		for _, text := range wrong {
			_, err := Load(source(asYAML(path, text)))
			problems := listed(t, err)
			for _, p := range problems {
				assert.Contains(t, p.Key, path, "%s: %s", path, text)
				assert.NotContains(t, p.String(), "s3cret")
				assert.NotEmpty(t, p.Source)
			}
		}
	}
}

func TestTemplateShapes(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"{usage_type: G, template_code: {china: A}}":                      "aliyun.templates[0].template_code.overseas: is missing",
		"{usage_type: G, template_code: {overseas: A}}":                   "aliyun.templates[0].template_code.china: is missing",
		"{usage_type: G, template_code: {}}":                              "aliyun.templates[0].template_code.china: is missing\naliyun.templates[0].template_code.overseas: is missing",
		"{usage_type: G, template_code: {china: A, oversea: B}}":          "aliyun.templates[0].template_code.oversea: is no setting here",
		"{usage_type: G, template_code: [A]}":                             "aliyun.templates[0].template_code: must be a text",
		"{usage_type: G, template_code: <template-code>}":                 "aliyun.templates[0].template_code: holds the placeholder of an example",
		"{usage_type: G, template_code: {china: A, overseas: < code > }}": "aliyun.templates[0].template_code.overseas: holds the placeholder of an example",
		"{usage_type: '', template_code: ''}":                             "aliyun.templates[0].usage_type: is missing\naliyun.templates[0].template_code: is missing",
		"{usage_type: G, usage_type: H, template_code: A}":                "aliyun.templates[0].usage_type: is set twice",
		"{usage_type: G, template_code: A, type: 2}":                      "aliyun.templates[0].type: is no setting here",
		"{usage_type: G, template_code: A, params: x}":                    "aliyun.templates[0].params: must be a list",
	} {
		_, err := Load(source("aliyun: {templates: [" + template + "]}"))
		var got []string
		for _, p := range listed(t, err) {
			got = append(got, fmt.Sprintf("%s: %s", p.Key, p.Problem))
		}
		assert.Equal(t, want, strings.Join(got, "\n"), template)
	}
}
