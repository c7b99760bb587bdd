// Package config reads the worker's settings: defaults, then one YAML file, then
// the environment, then flags. It reports every problem at once, each with the
// key and the fix, and shows no secret. config/worker.yaml documents each setting.
package config

import (
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Config is every setting. A field's yaml tag is its key; a path such as
// "nats.tls.ca" joins the keys of its levels. The default tag holds the default, as
// the settings file has it. A required tag holds the fix where the field is missing.
type Config struct {
	NATS NATS `yaml:"nats"`
	// Jobs is the stream that jobs wait in, and the consumer that takes them out.
	Jobs struct {
		Stream          string        `yaml:"stream" default:"PASSCODE"`
		Subject         string        `yaml:"subject" default:"passcode.send"`
		Consumer        string        `yaml:"consumer" default:"passcode-worker"`
		MaxBytes        Bytes         `yaml:"max_bytes" default:"1GiB"`
		DuplicateWindow time.Duration `yaml:"duplicate_window" default:"2m"`
	} `yaml:"jobs"`
	// Results is the bucket of request records and where they are announced.
	Results struct {
		Bucket    string        `yaml:"bucket" default:"passcode-requests"`
		Subject   string        `yaml:"subject" default:"passcode.result"` // a prefix: .<request_id> follows
		Retention time.Duration `yaml:"retention" default:"24h"`
		// A job's reply_to must match one of these patterns.
		ReplySubjects []string `yaml:"reply_subjects" default:"[passcode.result.>, _INBOX.>]"`
	} `yaml:"results"`
	// DeadLetters is the stream of jobs that an operator must look at.
	DeadLetters struct {
		Stream    string        `yaml:"stream" default:"PASSCODE_DEAD"`
		Subject   string        `yaml:"subject" default:"passcode.dead"` // a prefix: .<reason>.<request_id> follows
		Retention time.Duration `yaml:"retention" default:"72h"`
	} `yaml:"dead_letters"`
	Worker struct {
		Concurrency int `yaml:"concurrency" default:"256"`
		// PasscodeTTL is how long a passcode is worth sending where the job doesn't say,
		// from the time that the stream stored it.
		PasscodeTTL      time.Duration `yaml:"passcode_ttl" default:"10m"`
		AckWait          time.Duration `yaml:"ack_wait" default:"30s"`
		MaxInterruptions int           `yaml:"max_interruptions" default:"5"`
		ShutdownTimeout  time.Duration `yaml:"shutdown_timeout" default:"30s"`
	} `yaml:"worker"`
	// Retry is the exponential backoff between attempts that surely sent nothing.
	Retry struct {
		InitialInterval     time.Duration `yaml:"initial_interval" default:"500ms"`
		Multiplier          float64       `yaml:"multiplier" default:"2"`
		RandomizationFactor float64       `yaml:"randomization_factor" default:"0.5"`
		MaxInterval         time.Duration `yaml:"max_interval" default:"30s"`
		MaxAttempts         int           `yaml:"max_attempts" default:"6"`
	} `yaml:"retry"`
	// Limits is how many passcodes a phone may be sent.
	Limits struct {
		Bucket string `yaml:"bucket" default:"passcode-limits"`
		// Phone holds the rules from the shortest window to the longest; none means no limit.
		Phone []domain.Rule `yaml:"phone" default:"[1/1m, 5/1h, 10/24h]"`
		// Key is the HMAC key of phone numbers; empty means one made once and kept in the bucket.
		Key passcode.Secret `yaml:"key"`
	} `yaml:"limits"`
	// Aliyun is the account, the templates and the calls. Where ConnectorFile is set,
	// five settings hold what that file says.
	Aliyun struct {
		Endpoint                     string            `yaml:"endpoint" default:"dysmsapi.aliyuncs.com"` // host or host:port
		Protocol                     string            `yaml:"protocol" default:"https"`                 // http or https
		AccessKeyID                  KeyID             `yaml:"access_key_id"`
		AccessKeySecret              passcode.Secret   `yaml:"access_key_secret"`
		SecurityToken                passcode.Secret   `yaml:"security_token"`
		SignName                     string            `yaml:"sign_name"`
		Templates                    []domain.Template `yaml:"templates" default:"[]"`
		StrictPhoneRegionNumberCheck bool              `yaml:"strict_phone_region_number_check"`
		ConnectorFile                string            `yaml:"connector_file"`
		ConnectTimeout               time.Duration     `yaml:"connect_timeout" default:"2s"`
		Timeout                      time.Duration     `yaml:"timeout" default:"5s"` // of one whole call
		MaxQPS                       int               `yaml:"max_qps"`              // 0: no cap of ours
		// InDoubt is how a send is settled that may or may not have been accepted.
		InDoubt struct {
			Lookups []time.Duration `yaml:"lookups" default:"[5s, 15s, 30s]"` // counted from the attempt
			Resend  bool            `yaml:"resend" default:"true"`            // attempt again after the last look-up found nothing
		} `yaml:"in_doubt"`
	} `yaml:"aliyun"`
	// HTTP is the server of /livez, /readyz and /metrics.
	HTTP struct {
		Listen string `yaml:"listen" default:"127.0.0.1:8080"` // host:port; empty means none
	} `yaml:"http"`
	Log struct {
		Level  string `yaml:"level" default:"info"`  // debug, info, warn or error
		Format string `yaml:"format" default:"json"` // json or text
	} `yaml:"log"`

	// Warnings are sentences on settings that work but are probably not meant.
	Warnings []string `yaml:"-"`
}

// NATS says how to reach the broker. At most one kind of authentication is set.
type NATS struct {
	URL          ServerURLs      `yaml:"url" default:"nats://127.0.0.1:4222"`
	Creds        string          `yaml:"creds"` // a .creds file
	NkeySeedFile string          `yaml:"nkey_seed_file"`
	User         string          `yaml:"user"`
	Password     passcode.Secret `yaml:"password"`
	Token        passcode.Secret `yaml:"token"`
	TLS          TLS             `yaml:"tls"`
	Replicas     int             `yaml:"replicas" default:"1"`     // of streams and buckets: 1, 3 or 5
	Provision    bool            `yaml:"provision" default:"true"` // create what is missing
	// Embedded is a NATS server inside the worker.
	Embedded struct {
		Enabled  bool   `yaml:"enabled"`
		Listen   string `yaml:"listen" default:"127.0.0.1:4222"` // host:port
		StoreDir string `yaml:"store_dir" default:"data/nats"`
	} `yaml:"embedded"`
}

// TLS names PEM files. CA stands in for the system's roots; Cert and Key go together.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Default returns the settings that hold where nothing else is said.
func Default() Config {
	var c Config
	for _, k := range known.keys {
		if k.standard != nil {
			decoder{Errors: newErrors()}.value(k.path, k.standard, k.field(&c))
		}
	}
	return c
}
