Feature: Repositories
  Wherever a repository lies, it holds the same.

  @K30
  Scenario: A repository on an NFS export holds what the volume held
    Given a volume "app-data" holding 20 files and 1 MiB from seed 7
    And a repository "nas" on the NFS export "backups"
    And a replication source "app" for "app-data" into "nas" on tag "one"
    When "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
    And the repository "nas" verifies

  @K30
  Scenario: A repository on a claim holds what the volume held
    Given a volume "app-data" holding 20 files and 1 MiB from seed 7
    And a repository "local" on the claim "backups"
    And a replication source "app" for "app-data" into "local" on tag "one"
    When "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
    And the repository "local" verifies

  Scenario: What was written to a bucket comes back on a machine that has never seen it
    Given a volume "app-data" holding 20 files and 1 MiB from seed 7
    And a repository "main"
    And a replication source "app" for "app-data" into "main" on tag "one"
    When "app" synchronises once more
    Then the repository "main" restores on another machine to what "app-data" held

  Scenario: What was written to an NFS export comes back on a machine that has never seen it
    Given a volume "app-data" holding 20 files and 1 MiB from seed 7
    And a repository "nas" on the NFS export "backups"
    And a replication source "app" for "app-data" into "nas" on tag "one"
    When "app" synchronises once more
    Then the repository "nas" restores on another machine to what "app-data" held

  Scenario: A bucket behind the company's own authority holds what the volume held
    Given a volume "app-data" holding 20 files and 1 MiB from seed 7
    And a repository "main" in bucket "company" over TLS
    And a replication source "app" for "app-data" into "main" on tag "one"
    When "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
    And the repository "main" verifies
    And the repository "main" restores on another machine to what "app-data" held

  Scenario: A mover that is not told the company's authority says what is missing
    Given a volume "app-data" holding 5 files and 64 KiB from seed 7
    And a repository "main" in bucket "company" over TLS
    And a replication source "app" for "app-data" into "main" on tag "one"
      | customCA | {} |
    When a condition of the ReplicationSource "app" says "name the certificate's issuer as custom CA"
    Then "app" has not synchronised
    When the ReplicationSource "app" is set to
      | spec.kopia.customCA | {"configMapName": "main-ca", "key": "ca.crt"} |
    And "app" synchronises once more
    Then the newest snapshot of "app" restores to what "app-data" held
