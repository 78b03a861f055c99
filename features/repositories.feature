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
