"""last looks"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval_look",
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("person_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("before_digest", sa.Text(), nullable=True),
        sa.Column("before_content", sa.LargeBinary(), nullable=True),
        sa.Column("before_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("change", "person_id", name=op.f("pk_approval_look")),
    )


def downgrade() -> None:
    raise NotImplementedError("a database does not go back; restore the backup taken before the upgrade")
