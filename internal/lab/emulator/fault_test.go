package emulator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseFault(t *testing.T) {
	t.Parallel()
	for spec, want := range map[string]Fault{
		"drop":                  {Kind: KindDrop},
		"accept_drop,count=1":   {Kind: KindDrop, Accept: true, Count: 1},
		" hang , share=0.25 ":   {Kind: KindHang, Share: 0.25},
		"code=isv.X":            {Kind: KindCode, Code: "isv.X"},
		"code,code=isv.X":       {Kind: KindCode, Code: "isv.X"},
		"accept_code=Internal":  {Kind: KindCode, Accept: true, Code: "Internal"},
		"throttle,count=3":      {Kind: KindCode, Code: "Throttling.User", Count: 3},
		"latency=2s":            {Kind: KindLatency, Latency: 2 * time.Second},
		"lag=10s":               {Kind: KindLag, Lag: 10 * time.Second},
		"slow,duration=1m":      {Kind: KindSlow, Duration: time.Minute},
		"reset,phone=138000000": {}, // replaced below
		"undelivered,err=X,lag=1ms,latency=1ms": {
			Kind: KindUndelivered, Err: "X", Lag: time.Millisecond, Latency: time.Millisecond,
		},
		"hang,action=QuerySendDetails,phone=8613812345678": {Kind: KindHang, Action: ActionQuerySendDetails, Phone: "8613812345678"},
		"code=A,status=503,message=one, two=three,count=1": {Kind: KindCode, Code: "A", Status: 503, Message: "one, two=three,count=1"},
		"code=isv.BUSINESS_LIMIT_CONTROL,message=" + hourMessage: {
			Kind: KindCode, Code: "isv.BUSINESS_LIMIT_CONTROL", Message: hourMessage,
		},
	} {
		got, err := ParseFault(spec)
		if want.Kind == "" {
			assert.Error(t, err, spec)
			continue
		}
		require.NoError(t, err, spec)
		assert.Equal(t, want, got, spec)
		again, err := ParseFault(got.Spec())
		require.NoError(t, err, got.Spec())
		assert.Equal(t, got, again)
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
		"throttle=" + secret:                   "takes no value",
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
		"drop,action=Send":                     "action: must be SendSms",
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
		"accept_drop,action=QuerySendDetails":  "only SendSms accepts",
		"lag=1s,action=QuerySendDetails":       "only SendSms accepts",
		"latency=1s,action=QuerySmsSign,err=X": "only SendSms accepts",
		"drop,action=QuerySmsSign,phone=" + secret: "phone goes with",
	} {
		_, err := ParseFault(spec)
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

func TestFaultPrintsWithoutThePhone(t *testing.T) {
	t.Parallel()
	f := mustFaults(t, "hang,phone=13812345678")[0]
	assert.Equal(t, "hang,phone=**** hang,phone=**** [hang,phone=****]", fmt.Sprintf("%s %+v %v", f, f, []Fault{f}))
	assert.Equal(t, "hang,phone=13812345678", f.Spec())
}

// TestFaultHelpIsComplete reads the help: it names every kind and option, and
// its examples are SPECs.
func TestFaultHelpIsComplete(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{
		KindCode, KindHTML502, KindEmpty, KindGarbage, KindHang, KindDrop, KindReset, KindSlow, KindLatency, KindLag,
		KindUndelivered, aliasThrottle,
	} {
		assert.Regexp(t, `(?m)^  `+string(kind)+`[ =]`, FaultHelp)
		assert.Contains(t, errKind.Error(), string(kind))
	}
	for option := range optionRules {
		assert.Regexp(t, `(?m)^  `+option+`=`, FaultHelp)
	}
	_, examples, ok := strings.Cut(FaultHelp, "Examples:\n")
	require.True(t, ok)
	for _, spec := range strings.Fields(examples) {
		_, err := ParseFault(spec)
		assert.NoError(t, err, spec)
	}
}

func TestDecodeFaults(t *testing.T) {
	t.Parallel()
	drop, throttle := Fault{Kind: KindDrop, Accept: true, Count: 1}, Fault{Kind: KindCode, Code: codeThrottled, Count: 3}
	for body, want := range map[string][]Fault{
		"":                    nil,
		" \n":                 nil,
		"accept_drop,count=1": {drop},
		"accept_drop,count=1\r\n\nthrottle,count=3\n": {drop, throttle},
		`"accept_drop,count=1"`:                       {drop},
		`[]`:                                          nil,
		`{"kind":"accept_drop","count":1}`:            {drop},
		`[{"kind":"accept_drop","count":"1"},{"kind":"code","code":"Throttling.User","count":3}]`: {drop, throttle},
		`["accept_drop,count=1",{"spec":"throttle,count=3","fired":2,"gone":false}]`:              {drop, throttle},
		`{"kind":"latency","latency":"2s","share":0.25,"phone":13812345678}`: {
			{Kind: KindLatency, Latency: 2 * time.Second, Share: 0.25, Phone: "13812345678"},
		},
	} {
		got, err := decodeFaults([]byte(body))
		require.NoError(t, err, body)
		assert.Equal(t, want, got, body)
	}
	for body, rule := range map[string]string{
		"drop\n\nsnow":                        "line 3: fault: the kind",
		`[{"kind":"drop"},{"kind":"x"}]`:      "fault 2: fault: the kind",
		`{"count":1}`:                         "the kind must be",
		`{"kind":"drop","count":1.5}`:         "count: must be a whole number",
		`{"kind":"drop","count":true}`:        "a string or a number",
		`{"kind":"drop","cuont":1}`:           "the options are",
		`{"kind":"drop","duration":"1s"}`:     "goes with the kind slow",
		`{"spec":"drop","count":1}`:           "spec goes with no other option",
		`[1]`:                                 "must be an object",
		`[`:                                   "must be one JSON value",
		`{`:                                   "must be one JSON value",
		`"drop" "drop"`:                       "must be one JSON value",
		strings.Repeat("drop\n", maxFaults+1): "at most 1000 faults",
	} {
		_, err := decodeFaults([]byte(body))
		assert.ErrorContains(t, err, rule, body)
	}
}

func FuzzParseFault(f *testing.F) {
	for _, seed := range []string{
		"accept_drop,count=1", "code=isv.X,message=a,b", "hang,share=0.25,phone=13812345678", "latency=2s",
		"slow,duration=1h", "throttle,count=3", "undelivered,err=X,lag=1ns,latency=24h", "code=A,message= x ",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		fault, err := ParseFault(spec)
		if err != nil {
			return
		}
		if err := fault.Validate(); err != nil {
			t.Fatalf("ParseFault let pass what Validate refuses: %v", err)
		}
		again, err := ParseFault(fault.Spec())
		if err != nil || again != fault {
			t.Fatalf("%q reads as %+v, its SPEC %q as %+v, %v", spec, fault, fault.Spec(), again, err)
		}
	})
}

func FuzzDecodeFaults(f *testing.F) {
	f.Add([]byte("drop\nhang,count=1"))
	f.Add([]byte(`[{"kind":"code","code":"X","share":1e-3},"drop",{"spec":"hang"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		faults, err := decodeFaults(body)
		if err != nil {
			return
		}
		for _, fault := range faults {
			if err := fault.Validate(); err != nil {
				t.Fatalf("decoded what Validate refuses: %v", err)
			}
		}
	})
}
