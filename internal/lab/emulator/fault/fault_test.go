package fault

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]Fault{
		"drop":                 {Kind: KindDrop},
		"accept_drop,count=1":  {Kind: KindDrop, Accept: true, count: 1},
		" hang , share=0.25 ":  {Kind: KindHang, share: 0.25},
		"code=isv.X":           {Kind: KindCode, Code: "isv.X"},
		"code,code=isv.X":      {Kind: KindCode, Code: "isv.X"},
		"accept_code=Internal": {Kind: KindCode, Accept: true, Code: "Internal"},
		"throttle,count=3":     {Kind: KindCode, Code: "Throttling.User", count: 3},
		"latency=2s":           {Kind: KindLatency, Latency: 2 * time.Second},
		"lag=10s":              {Kind: KindLag, Lag: 10 * time.Second},
		"slow,duration=1m":     {Kind: KindSlow, Duration: time.Minute},
		"undelivered,err=X,lag=1ms,latency=1ms": {
			Kind: KindUndelivered, Err: "X", Lag: time.Millisecond, Latency: time.Millisecond,
		},
		"hang,action=QuerySendDetails,phone=8613812345678":   {Kind: KindHang, action: gateway.ActionQuerySendDetails, phone: "13812345678"},
		"code=A,message=one two=three,count=1":               {Kind: KindCode, Code: "A", Message: "one two=three", count: 1},
		`code=A,status=503,"message=one, two=three",count=1`: {Kind: KindCode, Code: "A", Status: 503, Message: "one, two=three", count: 1},
		`code=A,message=say "no"`:                            {Kind: KindCode, Code: "A", Message: `say "no"`},
		"code=isv.BUSINESS_LIMIT_CONTROL,message=" + "触发小时级流控Permits:5": {
			Kind: KindCode, Code: "isv.BUSINESS_LIMIT_CONTROL", Message: "触发小时级流控Permits:5",
		},
	} {
		got, err := Parse(spec)
		require.NoError(t, err, spec)
		want.Spec, want.action = strings.TrimSpace(spec), cmp.Or(want.action, gateway.ActionSendSms)
		assert.Equal(t, want, *got, spec)
	}
}

// TestFaultErrorsNameTheRule and no value, since a value may be a phone number.
func TestFaultErrorsNameTheRule(t *testing.T) {
	t.Parallel()
	const secret = "13899998888"
	for spec, rule := range map[string]string{
		"":                                     "the kind must be one of",
		secret:                                 "the kind must be one of",
		"accept_slow":                          "the kind must be one of",
		"accept_throttle":                      "the kind must be one of",
		"drop=" + secret:                       "takes no value",
		"throttle=" + secret:                   "the kind must be one of",
		"drop," + secret:                       "must be written key=value",
		"drop,":                                "must be written key=value",
		"drop," + secret + "=1":                "the options are",
		"drop,kind=hang":                       "the options are",
		"drop,count=1,count=2":                 "given twice",
		"code=A,code=B":                        "given twice",
		"latency=1s,latency=2s":                "given twice",
		"drop,count=0":                         "count: must be a whole number, 1 or more",
		"drop,count=-1":                        "count: must be",
		"drop,count=1.5":                       "count: must be",
		"drop,share=0":                         "share: must be a number above 0",
		"drop,share=1.01":                      "share: must be",
		"drop,share=NaN":                       "share: must be",
		"drop,phone=":                          "phone: must be one phone number",
		"drop,phone=138":                       "phone: must be one phone number",
		"drop,phone=" + secret + ";" + secret:  "phone: must be one phone number",
		"drop,action=Send":                     "action: must be one of SendSms, SendBatchSms",
		"code=A,message=a,b":                   `one with a comma "key=value"`,
		"code=A\ndrop":                         "must be one line",
		"code":                                 "needs a value: code=CODE",
		"code=":                                "code: must be 1 to 64",
		"code=a b":                             "code: must be 1 to 64",
		"latency":                              "needs a value: latency=TIME",
		"lag":                                  "needs a value: lag=TIME",
		"latency=0s":                           "latency: must be a time",
		"latency=-1s":                          "latency: must be a time",
		"latency=25h":                          "at most 24h",
		"latency=5":                            "latency: must be a time",
		"code=A,status=99":                     "status: must be an HTTP status",
		"code=A,status=204":                    "status: must be an HTTP status",
		"code=A,message=":                      "message: must be text",
		"code=A,message=a\x00b":                "message: must be text",
		"drop,status=500":                      "go with the kind code alone",
		"drop,message=x":                       "go with the kind code alone",
		"drop,duration=1s":                     "goes with the kind slow alone",
		"drop,lag=1s":                          "go with a kind that accepts",
		"drop,err=X":                           "go with a kind that accepts",
		"undelivered,err=" + secret + " ":      "", // a code may be of digits, however odd
		"accept_drop,action=QuerySendDetails":  "only SendSms and SendBatchSms accept",
		"lag=1s,action=QuerySendDetails":       "only SendSms and SendBatchSms accept",
		"latency=1s,action=QuerySmsSign,err=X": "only SendSms and SendBatchSms accept",
		"drop,action=QuerySmsSign,phone=" + secret: "phone goes with",
	} {
		_, err := Parse(spec)
		if rule == "" {
			assert.NoError(t, err, spec)
			continue
		}
		if assert.Error(t, err, spec) {
			assert.Contains(t, err.Error(), rule, spec)
			assert.NotContains(t, err.Error(), secret, spec)
		}
	}
}

// TestHelpIsComplete reads the help: it names every kind and option, and
// its examples are SPECs.
func TestHelpIsComplete(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{
		KindCode, KindHTML502, KindEmpty, KindGarbage, KindHang, KindDrop, KindReset, KindSlow, KindLatency, KindLag,
		KindUndelivered, "throttle",
	} {
		assert.Regexp(t, `(?m)^  `+string(kind)+`[ =]`, Help)
		assert.Contains(t, errKind.Error(), string(kind))
	}
	_, err := Parse("drop,other=1")
	_, options, _ := strings.Cut(err.Error(), "the options are ")
	for option := range strings.SplitSeq(strings.ReplaceAll(options, " and ", ", "), ", ") {
		assert.Regexp(t, `(?m)^  `+option+`=`, Help)
	}
	for _, action := range gateway.Actions {
		assert.Contains(t, Help, action)
	}
	_, examples, ok := strings.Cut(Help, "Examples:\n")
	require.True(t, ok)
	for spec := range strings.Lines(strings.TrimSpace(examples)) {
		_, err := Parse(spec)
		assert.NoError(t, err, spec)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		"":                    nil,
		" \n":                 nil,
		"accept_drop,count=1": {"accept_drop,count=1"},
		"accept_drop,count=1\r\n\nthrottle,count=3\n": {"accept_drop,count=1", "throttle,count=3"},
	} {
		set, err := Decode(body)
		require.NoError(t, err, body)
		var got []string
		for _, f := range set {
			got = append(got, f.Spec)
		}
		assert.Equal(t, want, got, body)
	}
	for body, rule := range map[string]string{
		"drop\n\nsnow":                        "line 3: fault: the kind",
		`[{"kind":"drop"}]`:                   "line 1: fault: the kind",
		strings.Repeat("drop\n", maxFaults+1): "at most 1000 faults",
	} {
		_, err := Decode(body)
		assert.ErrorContains(t, err, rule, body)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"accept_drop,count=1", `code=isv.X,"message=a, ""b"""`, "hang,share=0.25,phone=13812345678", "latency=2s",
		"slow,duration=1h", "throttle,count=3", "undelivered,err=X,lag=1ns,latency=24h", "code=A,message= x ",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		fault, err := Parse(spec)
		if err != nil {
			return
		}
		again, err := Parse(fault.Spec)
		if err != nil || *again != *fault {
			t.Fatalf("%q reads as %+v, its SPEC as %+v, %v", spec, fault, again, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("drop\nhang,count=1")
	f.Add("code=X,share=1e-3\r\n\n drop")
	f.Fuzz(func(t *testing.T, body string) {
		set, err := Decode(body)
		if err != nil {
			return
		}
		var shown strings.Builder
		for _, fault := range set {
			shown.WriteString(fault.Spec + "\n")
		}
		again, err := Decode(shown.String())
		if err != nil || len(again) != len(set) {
			t.Fatalf("what is shown can't be set again: %v", err)
		}
	})
}
