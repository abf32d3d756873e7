package alert

// AttackVersion is the version of the MITRE ATT&CK matrix that the names below
// are taken from. Identifiers outlive versions; names may be reworded.
const AttackVersion = "16.1"

// Attack is one technique of MITRE ATT&CK (Enterprise) under one tactic. A
// missing part is "".
type Attack struct {
	TacticID, TacticName       string
	TechniqueID, TechniqueName string
	SubID, SubName             string
}

// ID is the most specific identifier: the sub-technique's, else the technique's.
func (a Attack) ID() string {
	if a.SubID != "" {
		return a.SubID
	}
	return a.TechniqueID
}

// AttackOf returns the technique or sub-technique with the given identifier
// ("T1046", "T1110.001"), with its names and the tactic that network evidence
// speaks for. An identifier that is not in the catalogue is kept, without names.
func AttackOf(id string) Attack {
	for _, row := range catalogue {
		if row[0] == id {
			return attackFrom(row)
		}
	}
	base, sub := id, ""
	if len(id) > 6 && id[5] == '.' {
		base, sub = id[:5], id
	}
	return Attack{TechniqueID: base, SubID: sub}
}

// AttacksOf is AttackOf of each identifier.
func AttacksOf(ids ...string) []Attack {
	out := make([]Attack, len(ids))
	for i, id := range ids {
		out[i] = AttackOf(id)
	}
	return out
}

func attackFrom(row [4]string) Attack {
	a := Attack{TacticID: row[3], TechniqueID: row[0], TechniqueName: row[1]}
	if row[2] != "" {
		a.TechniqueID, a.TechniqueName = row[0][:5], row[2]
		a.SubID, a.SubName = row[0], row[1]
	}
	a.TacticName = tacticName(a.TacticID)
	return a
}

func tacticName(id string) string {
	for _, t := range tactics {
		if t[0] == id {
			return t[1]
		}
	}
	return ""
}

var tactics = [...][2]string{
	{"TA0043", "Reconnaissance"},
	{"TA0001", "Initial Access"},
	{"TA0003", "Persistence"},
	{"TA0005", "Defense Evasion"},
	{"TA0006", "Credential Access"},
	{"TA0007", "Discovery"},
	{"TA0008", "Lateral Movement"},
	{"TA0011", "Command and Control"},
	{"TA0010", "Exfiltration"},
	{"TA0040", "Impact"},
}

// catalogue rows: identifier, name, name of the technique that it is a
// sub-technique of (or ""), tactic. Only what flow logs can speak for.
var catalogue = [...][4]string{
	{"T1595", "Active Scanning", "", "TA0043"},
	{"T1595.001", "Scanning IP Blocks", "Active Scanning", "TA0043"},
	{"T1595.002", "Vulnerability Scanning", "Active Scanning", "TA0043"},
	{"T1590", "Gather Victim Network Information", "", "TA0043"},
	{"T1133", "External Remote Services", "", "TA0001"},
	{"T1190", "Exploit Public-Facing Application", "", "TA0001"},
	{"T1205", "Traffic Signaling", "", "TA0003"},
	{"T1562", "Impair Defenses", "", "TA0005"},
	{"T1562.008", "Disable or Modify Cloud Logs", "Impair Defenses", "TA0005"},
	{"T1110", "Brute Force", "", "TA0006"},
	{"T1110.001", "Password Guessing", "Brute Force", "TA0006"},
	{"T1110.003", "Password Spraying", "Brute Force", "TA0006"},
	{"T1110.004", "Credential Stuffing", "Brute Force", "TA0006"},
	{"T1046", "Network Service Discovery", "", "TA0007"},
	{"T1018", "Remote System Discovery", "", "TA0007"},
	{"T1016", "System Network Configuration Discovery", "", "TA0007"},
	{"T1021", "Remote Services", "", "TA0008"},
	{"T1021.001", "Remote Desktop Protocol", "Remote Services", "TA0008"},
	{"T1021.002", "SMB/Windows Admin Shares", "Remote Services", "TA0008"},
	{"T1021.004", "SSH", "Remote Services", "TA0008"},
	{"T1021.006", "Windows Remote Management", "Remote Services", "TA0008"},
	{"T1071", "Application Layer Protocol", "", "TA0011"},
	{"T1071.001", "Web Protocols", "Application Layer Protocol", "TA0011"},
	{"T1071.004", "DNS", "Application Layer Protocol", "TA0011"},
	{"T1090", "Proxy", "", "TA0011"},
	{"T1095", "Non-Application Layer Protocol", "", "TA0011"},
	{"T1105", "Ingress Tool Transfer", "", "TA0011"},
	{"T1571", "Non-Standard Port", "", "TA0011"},
	{"T1572", "Protocol Tunneling", "", "TA0011"},
	{"T1573", "Encrypted Channel", "", "TA0011"},
	{"T1029", "Scheduled Transfer", "", "TA0010"},
	{"T1030", "Data Transfer Size Limits", "", "TA0010"},
	{"T1041", "Exfiltration Over C2 Channel", "", "TA0010"},
	{"T1048", "Exfiltration Over Alternative Protocol", "", "TA0010"},
	{"T1567", "Exfiltration Over Web Service", "", "TA0010"},
	{"T1496", "Resource Hijacking", "", "TA0040"},
	{"T1498", "Network Denial of Service", "", "TA0040"},
	{"T1498.001", "Direct Network Flood", "Network Denial of Service", "TA0040"},
	{"T1498.002", "Reflection Amplification", "Network Denial of Service", "TA0040"},
	{"T1499", "Endpoint Denial of Service", "", "TA0040"},
}
