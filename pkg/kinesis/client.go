package kinesis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/flowstitch/flowstitch/pkg/kinesis/wholebody"
)

// readTimeout is how long a response may send nothing. The SDK waits for ever
// by default. A fan-out subscription sends an event at least every 5 s, even
// with nothing to tell.
const readTimeout = 60 * time.Second

// newClient makes the SDK client of one stream and returns how to make it
// forget its credentials.
func newClient(ctx context.Context, s *Stream, opts ...func(*awsconfig.LoadOptions) error) (*kinesis.Client, func(), error) {
	transport := awshttp.NewBuildableClient().WithReadTimeout(readTimeout)
	opts = append([]func(*awsconfig.LoadOptions) error{awsconfig.WithHTTPClient(transport)}, opts...)
	if s.Region != "" {
		opts = append(opts, awsconfig.WithRegion(s.Region))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("kinesis: credentials and region of stream %s: %w", s.Name, err)
	}
	if cfg.Region == "" {
		return nil, nil, fmt.Errorf("kinesis: stream %s has no region; set region, or AWS_REGION in the environment", s.Name)
	}
	if s.RoleARN != "" {
		cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), s.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "flowstitch"
			if s.ExternalID != "" {
				o.ExternalID = aws.String(s.ExternalID)
			}
		}))
	}
	forget := func() {}
	if cache, ok := cfg.Credentials.(interface{ Invalidate() }); ok {
		forget = cache.Invalidate
	}
	client := kinesis.NewFromConfig(cfg, func(o *kinesis.Options) {
		o.HTTPClient = wholebody.Client(o.HTTPClient)
		if s.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.Endpoint)
		}
	})
	return client, forget, nil
}

// fault is why a call failed, as far as it matters what to do: a metric label.
type fault string

const (
	faultThrottled   fault = "throttled"
	faultIterator    fault = "iterator_expired"
	faultCredentials fault = "credentials"
	faultGone        fault = "not_found"
	faultArgument    fault = "invalid_argument"
	faultDenied      fault = "denied"
	faultBusy        fault = "in_use"
	faultService     fault = "service" // 5xx, network, and whatever else
)

// faultOf classifies an error of the SDK by the service's error code.
func faultOf(err error) fault {
	var api smithy.APIError
	if !errors.As(err, &api) {
		if strings.Contains(err.Error(), "failed to refresh cached credentials") {
			return faultCredentials
		}
		return faultService
	}
	switch code := api.ErrorCode(); code {
	case "ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException", "KMSThrottlingException":
		return faultThrottled
	case "ExpiredIteratorException":
		return faultIterator
	case "ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidSignatureException", "RequestExpired":
		return faultCredentials
	case "ResourceNotFoundException":
		return faultGone
	case "InvalidArgumentException", "ValidationException":
		return faultArgument
	case "AccessDeniedException", "KMSAccessDeniedException", "KMSDisabledException":
		return faultDenied
	case "ResourceInUseException":
		return faultBusy
	}
	return faultService
}
