package check

import (
	"regexp"
	"strconv"
	"strings"
)

// accountOf finds the account in an ARN.
var accountOf = regexp.MustCompile(`^arn:[a-z-]+:iam::([0-9]{12}):`)

// identities: each service account has the role that is named after it, and all
// roles lie in one account.
func (s *Set) identities() {
	accounts := map[string]string{}
	for _, o := range s.of("ServiceAccount") {
		role := str(o.Raw, "metadata", "annotations", "eks.amazonaws.com/role-arn")
		for name := range s.product.Services {
			if name != o.Name && endsIn(role, name) && !endsIn(role, o.Name) && s.isService(o.Name) {
				s.add("irsa", o, "has the role %s, which is named after %s", role, name)
			}
		}
		if m := accountOf.FindStringSubmatch(role); m != nil {
			accounts[m[1]] = o.Name
		}
		if a := str(o.Raw, "metadata", "annotations", "eks.amazonaws.com/audience"); a != "" && a != "sts.amazonaws.com" {
			s.add("irsa", o, "audience %q; the roles' trust policies and EKS say sts.amazonaws.com", a)
		}
		if e := plain(get(o.Raw, "metadata", "annotations", "eks.amazonaws.com/token-expiration")); e != "" {
			if n, err := strconv.Atoi(e); err != nil || n < 600 || n > 86400 {
				s.add("irsa", o, "token-expiration %q is not between 600 and 86400 seconds", e)
			}
		}
	}
	if len(accounts) > 1 {
		s.add("irsa", nil, "the roles lie in different accounts, %v: was one left as in the example?", sortedKeys(accounts))
	}
}

func (s *Set) isService(name string) bool {
	_, ok := s.product.Services[name]
	return ok
}

func endsIn(role, name string) bool {
	return strings.HasSuffix(role, "-"+name) || strings.HasSuffix(role, "/"+name)
}
