Feature: Auto-restore
  A claim that names a destination in its dataSourceRef is filled from the newest backup before it binds.

  @K23
  Scenario: With backups present, a new claim is filled before it binds
    Given a volume "old" holding 50 files and 2 MiB from seed 7
    And a repository "main"
    And a replication source "app" for "old" into "main" on tag "one"
    When "app" synchronises once more
    And a replication destination "app-dst" from "main" of "app" on tag "restore-once" is created
    And a claim "new" that "app-dst" fills is created
    And the claim "new" is bound
    Then the claim "new" holds what "old" held at the last sync

  @K23
  Scenario: The claim may come before its destination
    Given a volume "old" holding 20 files and 1 MiB from seed 8
    And a repository "main"
    And a replication source "app" for "old" into "main" on tag "one"
    When "app" synchronises once more
    And a claim "new" that "app-dst" fills is created
    And 20 seconds pass
    And a replication destination "app-dst" from "main" of "app" on tag "restore-once" is created
    And the claim "new" is bound
    Then the claim "new" holds what "old" held at the last sync

  Scenario: Without any backup, the claim of a first deployment is empty and the status says so
    Given a volume "other" holding 10 files and 1 MiB from seed 5
    And a repository "main"
    And a replication source "other" for "other" into "main" on tag "one"
    When "other" synchronises once more
    And a replication destination "app-dst" from "main" of "app" on tag "restore-once" is created
    And a claim "new" that "app-dst" fills is created
    And the claim "new" is bound
    Then the claim "new" holds nothing
    And a Warning event of the ReplicationDestination "app-dst" has said "othing"
